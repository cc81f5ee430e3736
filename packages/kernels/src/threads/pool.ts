import { FreelunchError } from '@freelunch/errors';
import type { WasmExports } from '../wasm-exports.js';
import { control as places, type WorkerStart } from './control.js';
import { startThread, type Thread } from './spawn.js';

/** The kernels, without those functions that tell sizes or return sums. */
export type KernelName = {
  [Name in keyof WasmExports]: WasmExports[Name] extends (...args: never[]) => void ? Name : never;
}[keyof WasmExports];

/** How a call is cut into parts. */
export interface Job {
  /** Independent pieces of the call, such as rows, heads or tiles: parts are runs of them. */
  readonly units: number;
  /** Units in a part, except the last. */
  readonly grain: number;
  /** Working memory of each thread, which the kernel takes after its other arguments. */
  readonly scratch?: { readonly address: number; readonly bytes: number };
  /** For a kernel that knows nothing of parts: how it is told of one. Others take `first` and `count` at the end. */
  readonly slices?: Slices;
}

/** How the arguments of a kernel follow from which units it is to compute. */
export interface Slices {
  /** Which argument is the number of units. */
  readonly countAt: number;
  /** How much each argument grows with each unit, 0 for those that do not: bytes for addresses. */
  readonly steps: readonly number[];
}

/** A kernel as it is called by number. */
export type Call = (...args: number[]) => void;

/** The arguments of a kernel for some of its units. */
export function argsOfPart(
  args: readonly number[],
  slices: Slices | undefined,
  first: number,
  count: number,
): readonly number[] {
  if (slices === undefined) return [...args, first, count];
  const { countAt, steps } = slices;
  return args.map((arg, i) => (i === countAt ? count : arg + first * (steps[i] ?? 0)));
}

/** Workers look for the next job this long before they sleep: layers of a model follow each other within it. */
const SPIN_MS = 1;
/** The caller looks this long whether workers have finished before it sleeps, if it may. */
const CALLER_SPIN_MS = 0.05;
/** No part of a job takes nearly as long. */
const PATIENCE_MS = 60_000;
const NAP_MS = 50;

/** The worker threads of one set of kernels. The thread that calls computes with them. */
export class Pool {
  readonly #words: Int32Array;
  readonly #numbers: Float64Array;
  readonly #characters: Uint16Array;
  readonly #kernels: readonly Call[];
  readonly #index: ReadonlyMap<string, number>;
  /** Through which work is handed out. For tests. */
  readonly control: SharedArrayBuffer;
  readonly #threads: (Thread | undefined)[];
  /** How long the caller waits for a worker that is in the middle of a part. For tests. */
  patienceMs = PATIENCE_MS;
  /** Names of the kernels that were shared. For tests. */
  readonly shared = new Set<string>();
  #maySleep = true;

  private constructor(
    wasm: WasmExports,
    names: readonly string[],
    buffer: SharedArrayBuffer,
    threads: Thread[],
  ) {
    this.control = buffer;
    this.#words = new Int32Array(buffer);
    this.#numbers = new Float64Array(buffer);
    this.#characters = new Uint16Array(buffer);
    this.#kernels = names.map((name) => wasm[name as KernelName] as unknown as Call);
    this.#index = new Map(names.map((name, i) => [name, i]));
    this.#threads = threads;
    threads.forEach((thread, i) => (thread.onDeath = () => (this.#threads[i] = undefined)));
  }

  /**
   * @param threads  in all, with the one that calls
   * @throws UnsupportedError if a worker does not start; those that did are ended
   */
  static async start(
    wasm: WasmExports,
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    threads: number,
    url: string | URL | undefined,
  ): Promise<Pool> {
    const names = WebAssembly.Module.exports(module).flatMap(({ kind, name }) =>
      kind === 'function' ? [name] : [],
    );
    const buffer = new SharedArrayBuffer(places.bytes);
    const starts = Array.from({ length: threads - 1 }, (_, i) => {
      const start: WorkerStart = {
        module,
        memory,
        control: buffer,
        places,
        names,
        thread: i + 1,
        spinMs: SPIN_MS,
      };
      return startThread(start, url);
    });
    const started = await Promise.allSettled(starts);
    const failed = started.find(({ status }) => status === 'rejected');
    const alive = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const pool = new Pool(wasm, names, buffer, alive);
    if (failed !== undefined) {
      pool.end();
      throw (failed as PromiseRejectedResult).reason;
    }
    return pool;
  }

  /** Whether a worker is looking for work. */
  get isAwake(): boolean {
    return Atomics.load(this.#words, places.sleepers) < this.threads - 1;
  }

  /** The workers that live. For tests. */
  get workers(): readonly Thread[] {
    return this.#threads.filter((thread) => thread !== undefined);
  }

  /** Threads that compute, with the one that calls. */
  get threads(): number {
    return 1 + this.#threads.reduce((count, thread) => count + (thread === undefined ? 0 : 1), 0);
  }

  /**
   * Runs a kernel over all units of a job, on all threads. When it returns or throws, no worker touches the memory any
   * more.
   * @throws FreelunchError if a worker failed in the middle, and what the kernel itself throws
   */
  run(name: KernelName, args: readonly number[], { units, grain, scratch, slices }: Job): void {
    if (args.length > places.mostArgs)
      throw new FreelunchError(`${name}: ${args.length} arguments; a job has room for ${places.mostArgs}`);
    const numbers = this.#numbers;
    const words = this.#words;
    const parts = Math.ceil(units / grain);
    const fn = this.#index.get(name)!;
    numbers[places.fn] = fn;
    numbers[places.parts] = parts;
    numbers[places.units] = units;
    numbers[places.grain] = grain;
    numbers[places.scratch] = scratch?.address ?? -1;
    numbers[places.scratchBytes] = scratch?.bytes ?? 0;
    numbers[places.argCount] = args.length;
    numbers[places.countAt] = slices?.countAt ?? -1;
    for (let i = 0; i < args.length; i++) {
      numbers[places.args + i] = args[i];
      numbers[places.steps + i] = slices?.steps[i] ?? 0;
    }
    Atomics.store(words, places.failed, 0);
    Atomics.store(words, places.next, 0);
    Atomics.store(words, places.open, 1);
    Atomics.add(words, places.jobs, 1);
    this.shared.add(name);
    if (Atomics.load(words, places.sleepers) > 0) Atomics.notify(words, places.jobs, parts - 1);
    try {
      const kernel = this.#kernels[fn];
      const own = scratch === undefined ? args : [...args, scratch.address];
      for (;;) {
        const part = Atomics.add(words, places.next, 1);
        if (part >= parts) break;
        kernel(...argsOfPart(own, slices, part * grain, Math.min(grain, units - part * grain)));
      }
    } finally {
      Atomics.store(words, places.next, 2 ** 30);
      Atomics.store(words, places.open, 0);
      this.#waitForWorkers(name);
    }
    const length = Atomics.load(words, places.failed);
    if (length > 0) {
      const text = String.fromCharCode(...this.#characters.subarray(places.message, places.message + length));
      throw new FreelunchError(`${name}: a worker thread failed: ${text}`);
    }
  }

  #waitForWorkers(name: string): void {
    const words = this.#words;
    const end = performance.now() + CALLER_SPIN_MS;
    for (let i = 1; Atomics.load(words, places.inside) > 0; i++) {
      if (i % 100 === 0 && performance.now() > end) return this.#sleepUntilDone(name);
    }
  }

  /**
   * Counts naps and not the clock: while a machine sleeps, no time passes here either. A page may not sleep in
   * `Atomics.wait`: there a nap is spent looking.
   */
  #sleepUntilDone(name: string): void {
    const words = this.#words;
    Atomics.store(words, places.waiting, 1);
    let patience = this.patienceMs;
    for (;;) {
      const inside = Atomics.load(words, places.inside);
      if (inside === 0) break;
      if (!this.#nap(inside)) continue;
      patience -= NAP_MS;
      if (patience > 0) continue;
      this.end();
      throw new FreelunchError(
        `${name}: a worker thread stopped in the middle of its work; the outputs are not to be used, and from now on one thread computes`,
      );
    }
    Atomics.store(words, places.waiting, 0);
  }

  /** @returns false if woken before the nap was over */
  #nap(inside: number): boolean {
    const words = this.#words;
    if (this.#maySleep) {
      try {
        return Atomics.wait(words, places.inside, inside, NAP_MS) === 'timed-out';
      } catch {
        this.#maySleep = false;
      }
    }
    const end = performance.now() + NAP_MS;
    while (performance.now() < end) {
      for (let i = 0; i < 200; i++) if (Atomics.load(words, places.inside) !== inside) return false;
    }
    return true;
  }

  /** Ends all workers. No job may be open. */
  end(): void {
    Atomics.store(this.#words, places.stop, 1);
    Atomics.add(this.#words, places.jobs, 1);
    Atomics.notify(this.#words, places.jobs);
    this.#threads.forEach((thread, i) => {
      if (thread === undefined) return;
      thread.onDeath = undefined;
      thread.terminate();
      this.#threads[i] = undefined;
    });
  }
}
