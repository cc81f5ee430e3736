/** For tests: processes of the command line, all of which end with the test. */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import { cli } from './cli.js';

export interface Running {
  child: ChildProcess;
  /** Its exit code, or the signal that ended it. */
  ended: Promise<number | string>;
  /** All that it has written so far. */
  said(): string;
}

export interface Children {
  start(args: readonly string[], env?: Readonly<Record<string, string>>): Running;
  /** Kills those that still run. */
  end(): Promise<void>;
}

/** @param folder  that they are started in */
export function childrenIn(folder: string): Children {
  const running = new Set<ChildProcess>();
  return {
    start(args, env = {}) {
      const child = spawn(process.execPath, [cli, ...args], {
        cwd: folder,
        stdio: ['ignore', 'pipe', 'pipe'],
        // Node warns on stderr if both variables of colours are set.
        env: { ...process.env, NO_COLOR: undefined, FORCE_COLOR: undefined, ...env },
      });
      running.add(child);
      let text = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (text += data));
      const ended = new Promise<number | string>((resolve) => {
        child.once('close', (code, signal) => {
          running.delete(child);
          resolve(code ?? signal ?? '');
        });
      });
      return { child, ended, said: () => text };
    },
    async end() {
      for (const child of running) child.kill('SIGKILL');
      while (running.size > 0) await wait(10);
    },
  };
}
