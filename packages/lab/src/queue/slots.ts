/** Threads of a worker: one for each piece at work, kept for the next piece of the same experiment. */
import type { Row } from '../experiments/experiment.js';
import type { AnyExperiment } from '../running/registry.js';
import { ownThread, type Runner } from '../running/threads.js';
import type { Task } from '../running/worker.js';

export interface Slots {
  /** @throws what {@link Runner} throws, the signal's reason if it is aborted */
  run(
    experiment: AnyExperiment,
    task: Task,
    onProgress: (done: number) => void,
    signal: AbortSignal,
  ): Promise<Row[]>;
  end(): Promise<void>;
}

/** @param threads  of each piece's kernels */
export function threadSlots(threads: number): Slots {
  const never = new AbortController().signal;
  const idle: { experiment: AnyExperiment; runner: Runner }[] = [];
  const busy = new Set<Runner>();

  async function runnerFor(experiment: AnyExperiment): Promise<Runner> {
    const at = idle.findIndex((one) => one.experiment === experiment);
    if (at >= 0) return idle.splice(at, 1)[0].runner;
    // One of another experiment makes room.
    await idle.shift()?.runner.end();
    return ownThread(experiment, threads, never);
  }

  return {
    async run(experiment, task, onProgress, signal) {
      signal.throwIfAborted();
      const runner = await runnerFor(experiment);
      busy.add(runner);
      // Its thread ends, and with it the piece.
      const stop = () => void runner.end();
      signal.addEventListener('abort', stop, { once: true });
      if (signal.aborted) stop();
      try {
        const rows = await runner.run(task, onProgress);
        idle.push({ experiment, runner });
        return rows;
      } catch (cause) {
        await runner.end(); // what failed may have left anything behind
        if (signal.aborted) throw signal.reason;
        throw cause;
      } finally {
        busy.delete(runner);
        signal.removeEventListener('abort', stop);
      }
    },
    async end() {
      await Promise.all([...busy, ...idle.map(({ runner }) => runner)].map((runner) => runner.end()));
    },
  };
}
