/** A thread that runs pieces of an experiment, one at a time, with its own kernels. */
import { parentPort, workerData } from 'node:worker_threads';
import { loadKernels } from '@freelunch/kernels';
import type { Piece, Row } from '../experiments/experiment.js';
import { plainRows } from './rows.js';
import { experimentOf } from './registry.js';

/** What the thread is made with. */
export interface WorkerData {
  /** Name in the registry. */
  experiment: string;
  /** Threads of its kernels. */
  threads: number;
}

/** What the thread is told: a piece to run. */
export interface Task {
  piece: Piece;
  folder?: string;
}

/** What it says. */
export type Message =
  | { kind: 'progress'; done: number; label?: string }
  | { kind: 'done'; rows: Row[] }
  | { kind: 'failed'; name: string; message: string; stack?: string };

const port = parentPort!;
const { experiment: name, threads } = workerData as WorkerData;
const experiment = experimentOf(name);
const kernels = loadKernels({ variant: 'simd', threads });
const say = (message: Message) => port.postMessage(message);
/** Never aborted: who wants to stop a thread ends it. */
const { signal } = new AbortController();

port.on('message', ({ piece, folder }: Task) => {
  void (async () => {
    try {
      const k = await kernels;
      const onProgress = (done: number, label?: string) => say({ kind: 'progress', done, label });
      say({ kind: 'done', rows: plainRows(await experiment.run(piece, { k, signal, onProgress, folder })) });
    } catch (error) {
      const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
      say({ kind: 'failed', name, message, stack });
    }
  })();
});
