import { UnsupportedError } from '@freelunch/errors';
import type { WorkerStart } from './control.js';
import { workerSource } from './worker-source.js';

/** A worker thread, whichever runtime it is of. */
export interface Thread {
  /** Ends it at once. */
  terminate(): void;
  /** Called if it ends although nobody asked it to. */
  onDeath: (() => void) | undefined;
}

/** Longer than any start takes; without it a worker that a page's policy blocks silently would be waited for forever. */
const START_MS = 20_000;

type NodeThreads = typeof import('node:worker_threads');

/** Modules of Node, or undefined where there are none; they are named at run time, so that no bundler follows them. */
export function builtin<T>(name: string): T | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?(name: string): unknown } };
  return process?.getBuiltinModule?.(name) as T | undefined;
}

/** Why this runtime cannot share memory with workers, as a sentence for an error; undefined if it can. */
export function whyNoThreads(): string | undefined {
  const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean };
  const isNode = builtin<NodeThreads>('node:worker_threads')?.Worker !== undefined;
  if (!isNode && crossOriginIsolated === false) {
    return (
      'this page is not cross-origin isolated; serve it with the headers ' +
      "'Cross-Origin-Opener-Policy: same-origin' and 'Cross-Origin-Embedder-Policy: require-corp'"
    );
  }
  if (typeof SharedArrayBuffer === 'undefined') return 'this runtime has no SharedArrayBuffer';
  if (!isNode && typeof Worker === 'undefined') return 'this runtime has no workers';
  return undefined;
}

/** Number of cores that this runtime says there are. */
export function countCores(): number {
  const os = builtin<typeof import('node:os')>('node:os');
  return os?.availableParallelism?.() ?? globalThis.navigator?.hardwareConcurrency ?? 1;
}

/**
 * Starts a worker thread, and waits until its kernels stand.
 *
 * @param url  a copy of `worker.js` of this package, where a page's policy forbids workers made from text
 * @throws UnsupportedError if it does not start
 */
export function startThread(start: WorkerStart, url: string | URL | undefined): Promise<Thread> {
  const threads = builtin<NodeThreads>('node:worker_threads');
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail(new Error(`it did not answer for ${START_MS / 1000} s`)), START_MS);
    let thread: Thread | undefined;
    const fail = (cause: unknown) => {
      clearTimeout(timer);
      thread?.terminate();
      const message = (cause as { message?: string } | undefined)?.message ?? 'no reason given';
      reject(new UnsupportedError(`loadKernels: a worker thread does not start: ${message}`, { cause }));
    };
    const ready = () => {
      clearTimeout(timer);
      resolve(thread!);
    };
    try {
      thread =
        threads === undefined ? inPage(start, url, ready, fail) : inNode(threads, start, url, ready, fail);
    } catch (cause) {
      fail(cause);
    }
  });
}

function inNode(
  { Worker }: NodeThreads,
  start: WorkerStart,
  url: string | URL | undefined,
  ready: () => void,
  fail: (cause: unknown) => void,
): Thread {
  const worker = new Worker(new URL(url ?? `data:text/javascript,${encodeURIComponent(workerSource)}`));
  const thread: Thread = { terminate: () => void worker.terminate(), onDeath: undefined };
  worker.once('message', () => {
    worker.unref(); // a process that forgets its threads still ends
    ready();
  });
  worker.on('error', fail);
  worker.on('exit', () => {
    fail(new Error('it ended at once'));
    thread.onDeath?.();
  });
  worker.postMessage(start, []);
  return thread;
}

function inPage(
  start: WorkerStart,
  url: string | URL | undefined,
  ready: () => void,
  fail: (cause: unknown) => void,
): Thread {
  const blob =
    url === undefined
      ? URL.createObjectURL(new Blob([workerSource], { type: 'text/javascript' }))
      : undefined;
  const worker = new Worker(blob ?? url!, { type: 'module' });
  const thread: Thread = { terminate: () => worker.terminate(), onDeath: undefined };
  const settled = () => {
    if (blob !== undefined) URL.revokeObjectURL(blob);
  };
  worker.addEventListener('message', () => {
    settled();
    ready();
  });
  worker.addEventListener('error', (event) => {
    settled();
    fail(event);
    thread.onDeath?.();
  });
  worker.postMessage(start, []);
  return thread;
}
