/** For tests: the built command line, without the third of a second that a process of its own takes. */
import { EventEmitter } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { main } from '../../dist/commands/main.js';
import type { Output } from '../../dist/commands/progress.js';
import { terminalOf } from '../../dist/commands/terminal.js';

/** Of the process that a user starts. */
export const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

export interface Ended {
  status: number | undefined;
  stdout: string;
  stderr: string;
}

/** Runs a command in this process. @param columns  of the terminal that it believes to write to; `stdin` comes through a pipe */
export async function freelunch(
  args: readonly string[],
  {
    columns = 80,
    colour = false,
    signal = new AbortController().signal,
    stdin,
    onWrite,
  }: {
    columns?: number;
    colour?: boolean;
    signal?: AbortSignal;
    stdin?: string | Uint8Array;
    /** Told what was written, and where. */
    onWrite?: (name: 'stdout' | 'stderr', text: string) => void;
  } = {},
): Promise<Ended> {
  const written = { stdout: '', stderr: '' };
  const output = (name: 'stdout' | 'stderr'): Output =>
    Object.assign(new EventEmitter(), {
      isTTY: name === 'stdout' && colour,
      hasColors: () => colour,
      columns,
      write: (data: string | Uint8Array) => {
        const text = typeof data === 'string' ? data : Buffer.from(data).toString('utf8');
        written[name] += text;
        onWrite?.(name, text);
        return true;
      },
    });
  const input = () => (stdin === undefined ? undefined : Readable.from([Buffer.from(stdin)]));
  const status = await main(args, terminalOf(output('stdout'), output('stderr'), {}, signal, input));
  return { status, ...written };
}

/** A folder to work in, which the process is put into: names of files in it are short, as a user writes them. */
export function workFolder(): { folder: string; file(name: string, content: string | Uint8Array): string } {
  const folder = mkdtempSync(join(tmpdir(), 'freelunch-cli-'));
  process.chdir(folder);
  afterAll(() => {
    process.chdir(tmpdir());
    rmSync(folder, { recursive: true });
  });
  return {
    folder,
    file(name, content) {
      writeFileSync(join(folder, name), content);
      return name;
    },
  };
}
