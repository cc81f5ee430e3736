/** Where pieces run: in this thread, or in one that can be stopped in the middle of a piece. */
import { Worker } from 'node:worker_threads';
import { type Kernels, loadKernels } from '@freelunch/kernels';
import { InputError } from '../errors.js';
import type { Piece, Row } from '../experiments/experiment.js';
import { plainRows } from './rows.js';
import type { Message, Task, WorkerData } from './worker.js';
import type { AnyExperiment } from './registry.js';

/** Runs pieces of one experiment, one at a time. */
export interface Runner {
  run(task: Task, onProgress: (done: number, label?: string) => void): Promise<Row[]>;
  end(): Promise<unknown>;
}

/** In this thread. @param given  kernels; loaded if absent */
export async function thisThread(
  experiment: AnyExperiment,
  given: Kernels | undefined,
  threads: number,
  signal: AbortSignal,
): Promise<Runner> {
  const k = given ?? (await loadKernels({ variant: 'simd', threads }));
  return {
    async run({ piece, folder }, onProgress) {
      await new Promise((resolve) => setTimeout(resolve, 0)); // signals come in between
      signal.throwIfAborted();
      try {
        return plainRows(await experiment.run(piece, { k, signal, onProgress, folder }));
      } catch (cause) {
        if (signal.aborted) throw signal.reason;
        throw failure(experiment, piece, cause as Error);
      }
    },
    async end() {
      if (given === undefined) k.dispose();
    },
  };
}

/** In a thread of its own. @param experiment  of the registry @param signal  aborts the piece that runs */
export function ownThread(experiment: AnyExperiment, threads: number, signal: AbortSignal): Runner {
  const worker = new Worker(new URL('./worker.js', import.meta.url), {
    workerData: { experiment: experiment.name, threads } satisfies WorkerData,
  });
  let ended: Error | undefined;
  let current: { onMessage(message: Message): void; fail(cause: Error): void } | undefined;
  const fail = (cause: Error) => {
    ended ??= cause;
    current?.fail(cause);
  };
  worker.on('message', (message: Message) => current?.onMessage(message));
  worker.on('error', fail);
  worker.on('exit', (code) => fail(new Error(`its thread ended with code ${code}`)));
  return {
    run: ({ piece, folder }, onProgress) =>
      new Promise<Row[]>((resolve, reject) => {
        const aborted = () => settle(() => reject(signal.reason as Error));
        const settle = (act: () => void) => {
          current = undefined;
          signal.removeEventListener('abort', aborted);
          act();
        };
        if (signal.aborted) return reject(signal.reason as Error);
        if (ended !== undefined) return reject(failure(experiment, piece, ended));
        signal.addEventListener('abort', aborted);
        current = {
          onMessage(message) {
            if (message.kind === 'progress') onProgress(message.done, message.label);
            else if (message.kind === 'done') settle(() => resolve(message.rows));
            else settle(() => reject(failure(experiment, piece, message)));
          },
          fail: (cause) => settle(() => reject(failure(experiment, piece, cause))),
        };
        // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
        worker.postMessage({ piece, folder } satisfies Task);
      }),
    end: () => worker.terminate(),
  };
}

function failure(
  { name }: AnyExperiment,
  { key }: Piece,
  cause: { name: string; message: string; stack?: string },
): Error {
  const message = `${name}, piece '${key}': ${cause.message}`;
  if (cause.name === 'InputError') return new InputError(message, { cause });
  const error = new Error(message, { cause });
  if (cause.stack !== undefined) error.stack = `Error: ${message}\n${cause.stack}`;
  return error;
}
