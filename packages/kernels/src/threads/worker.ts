/**
 * What a worker thread runs. It imports nothing when it starts, so that its text alone can be made into a worker
 * wherever the package ends up: in a bundle, in a page without files beside it.
 */
import type { WorkerStart } from './control.js';

type Kernel = (...args: number[]) => void;

/** @param ready  called when the kernels stand */
function serve(start: WorkerStart, ready: () => void): void {
  const { module, memory, control, places, names, thread, spinMs } = start;
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const kernels = names.map((name) => exports[name] as Kernel);
  const words = new Int32Array(control);
  const numbers = new Float64Array(control);
  const characters = new Uint16Array(control);

  /** Takes parts of the open job until none is left. */
  function work(): void {
    const parts = numbers[places.parts];
    const units = numbers[places.units];
    const grain = numbers[places.grain];
    const kernel = kernels[numbers[places.fn]];
    const argCount = numbers[places.argCount];
    const args = Array.from(numbers.subarray(places.args, places.args + argCount));
    if (numbers[places.scratch] >= 0)
      args.push(numbers[places.scratch] + thread * numbers[places.scratchBytes]);
    const countAt = numbers[places.countAt];
    const steps = Array.from(numbers.subarray(places.steps, places.steps + argCount));
    for (;;) {
      const part = Atomics.add(words, places.next, 1);
      if (part >= parts) return;
      const first = part * grain;
      const count = Math.min(grain, units - first);
      if (countAt < 0) kernel(...args, first, count);
      else kernel(...args.map((arg, i) => (i === countAt ? count : arg + first * (steps[i] ?? 0))));
    }
  }

  /** Ends when there is a job newer than `seen`. */
  function wait(seen: number): void {
    const end = performance.now() + spinMs;
    do {
      for (let i = 0; i < 200; i++) if (Atomics.load(words, places.jobs) !== seen) return;
    } while (performance.now() < end);
    Atomics.add(words, places.sleepers, 1);
    Atomics.wait(words, places.jobs, seen);
    Atomics.sub(words, places.sleepers, 1);
  }

  ready();
  for (let seen = 0; ;) {
    wait(seen);
    seen = Atomics.load(words, places.jobs);
    if (Atomics.load(words, places.stop) === 1) return;
    Atomics.add(words, places.inside, 1);
    try {
      if (Atomics.load(words, places.open) === 1) work();
    } catch (error) {
      const text = String(error).slice(0, places.longestMessage) || 'an error without a message';
      for (let i = 0; i < text.length; i++) characters[places.message + i] = text.charCodeAt(i);
      Atomics.store(words, places.next, 2 ** 30); // the others need not go on
      Atomics.store(words, places.failed, text.length);
    }
    Atomics.sub(words, places.inside, 1);
    if (Atomics.load(words, places.waiting) === 1) Atomics.notify(words, places.inside);
  }
}

const node = 'node:worker_threads'; // named at run time: bundlers for browsers must not follow it
const { process } = globalThis as { process?: { versions?: { node?: string } } };
if (process?.versions?.node === undefined) {
  addEventListener('message', ({ data }: MessageEvent<WorkerStart>) => {
    serve(data, () => self.postMessage('ready', { transfer: [] }));
    self.close();
  });
} else {
  const { parentPort } = (await import(
    /* @vite-ignore */ /* webpackIgnore: true */ node
  )) as typeof import('node:worker_threads');
  parentPort!.once('message', (start: WorkerStart) =>
    serve(start, () => parentPort!.postMessage('ready', [])),
  );
}
