import { ArgumentError, DisposedError, ShapeError, UnsupportedError, show } from '@freelunch/errors';
import type { Allocator } from './memory.js';
import { Recording } from './recording.js';
import { Scopes } from './scopes.js';
import { argsOfPart, type Call, type KernelName, type Pool, type Slices } from './threads/pool.js';
import type { WasmExports } from './wasm-exports.js';
import {
  emptyQuantized,
  type QuantizedOwner,
  type QuantizedTensor,
  type WeightDType,
} from './quantized-tensor.js';
import type { AnyTensor } from './tensors-in.js';
import {
  type CheckedShape,
  checkShape,
  createTensor,
  type DType,
  dtypeOf,
  followGrowth,
  isTensor,
  takeElements,
  type Tensor,
  type TensorData,
  type TensorOwner,
} from './tensor.js';

/** Which binary computes: `simd` gives the same bits everywhere, `relaxed-simd` is faster where it runs. */
export type Variant = 'simd' | 'relaxed-simd';

/** How a call of a kernel may be shared among threads. The bits do not depend on who computes which part. */
export interface Cut {
  /** Pieces that are independent of each other, as the kernel counts them: any run of them can be computed alone. */
  units: number;
  /** About how long the whole call takes on one thread. */
  nanoseconds: number;
  /** Parts start at multiples of it; 1 if absent. */
  align?: number;
  /**
   * Units of each part, whatever the number of threads: for kernels whose result depends on it, because they add up
   * something over the units of a part. Must depend on sizes only.
   */
  grain?: number;
  /**
   * Where there are fewer units than threads to share them: a unit can be cut into as many pieces as a divisor of this
   * number says. The kernel takes the number of pieces after `args`, and counts units in pieces. Each piece repeats
   * something of its unit, so that one thread is given whole units.
   */
  mostPieces?: number;
  /**
   * Working memory of one thread, which the kernel takes after `args` and the number of pieces; if it depends on it, for
   * a part of some units, and so many pieces of each.
   */
  scratchBytes?: number | ((units: number, pieces: number) => number);
  /** Parts for each thread, 4 if absent: more even out what differs between them, fewer save what each has to prepare. */
  partsPerThread?: number;
  /**
   * For a kernel that knows nothing of parts, and takes a number of units and addresses of their data instead of
   * `first` and `count`.
   */
  slices?: Slices;
}

/** Nanoseconds per element that is set to 0. */
const CLEAR_NS = 0.1;

/**
 * A call that takes less is computed by the caller alone, and no part is made shorter than a quarter of it: to hand out
 * work and take it back costs about 0.5 us while workers look for it.
 */
const WORTH_SHARING_NS = 30_000;

/**
 * What every public function works with: the compiled kernels, and tensors in their memory. Callers hold `Kernels`
 * instead, which hands on what they may use.
 */
export class Context {
  readonly variant: Variant;
  readonly wasm: WasmExports;
  readonly allocator: Allocator;
  readonly #scopes = new Scopes();
  readonly #owner: TensorOwner & QuantizedOwner;
  readonly #pool: Pool | undefined;
  #recording: Recording | undefined;
  /** What calls took that were worth sharing while all workers slept. */
  #missedNs = 0;
  /** Which calls are shared among threads: tests set it to 0, for small calls to be cut too. */
  worthSharingNs = WORTH_SHARING_NS;

  constructor(wasm: WasmExports, allocator: Allocator, variant: Variant, pool?: Pool) {
    this.wasm = wasm;
    this.#pool = pool;
    this.allocator = allocator;
    this.variant = variant;
    this.#owner = {
      allocator,
      onCreate: (tensor: AnyTensor) => this.#scopes.add(tensor),
      onDispose: (tensor: AnyTensor) => this.#scopes.remove(tensor),
    };
  }

  /**
   * What the memory holds: bytes of the whole WASM memory, bytes in live blocks now and at most since
   * `resetPeak()`, number of live tensors.
   */
  get memory(): { totalBytes: number; usedBytes: number; peakBytes: number; tensors: number } {
    const { usedBytes, peakBytes, memory } = this.allocator;
    return { totalBytes: memory.buffer.byteLength, usedBytes, peakBytes, tensors: this.tensors };
  }

  /** Starts `memory.peakBytes` anew, from what is in use now. */
  resetPeak(): void {
    this.allocator.resetPeak();
  }

  /** Throws if a kernel wrote outside its buffers. Needs `loadKernels({ guard: true })`. */
  checkGuards(): void {
    this.allocator.checkGuards();
  }

  /**
   * A tensor with the given elements, row-major.
   *
   * @param data   as many numbers as the shape has elements; integers for `int32`
   * @param shape  sizes from 1 up; `[data.length]` if absent
   * @param dtype  `int32` for integer arrays, else `float32`, if absent
   * @throws ShapeError, DTypeError, ArgumentError, OutOfMemoryError
   */
  tensor<D extends DType>(data: TensorData, shape: readonly number[] | undefined, dtype: D): Tensor<D>;
  tensor(data: Int32Array | Uint8Array, shape?: readonly number[]): Tensor<'int32'>;
  tensor(data: Float32Array | Float64Array | readonly number[], shape?: readonly number[]): Tensor<'float32'>;
  tensor(data: TensorData, shape?: readonly number[]): Tensor;
  tensor(data: TensorData, shape?: readonly number[], dtype?: DType): Tensor {
    const type = dtype ?? dtypeOf('tensor', data);
    checkDType('tensor', type);
    const elements = takeElements('tensor', data, type);
    const checked = checkShape('tensor', shape ?? [elements.length]);
    if (checked.size !== elements.length) {
      throw new ShapeError(
        `tensor: data must have ${checked.size} elements for shape [${checked.shape.join(', ')}], got ${elements.length}`,
      );
    }
    const now = followGrowth(this.allocator, elements.data);
    // What is written here is written once: a recording must not use its memory for something else.
    const address = this.allocator.withoutReuse(() => this.allocator.allocate(checked.size * 4));
    const tensor = createTensor(this.#owner, address, checked, type);
    tensor.data.set(now());
    return tensor;
  }

  /** A tensor of zeros. @throws ShapeError, ArgumentError, OutOfMemoryError */
  zeros<D extends DType = 'float32'>(shape: readonly number[], dtype: D = 'float32' as D): Tensor<D> {
    const tensor = this.#uninitialized('zeros', shape, dtype);
    this.clear(tensor);
    return tensor;
  }

  /** Sets all elements to 0. Not by the array: where memory is shared, V8 fills that four to eight times as slowly. */
  clear({ pointer, size }: Tensor): void {
    this.run('clear', [pointer, size], {
      units: size,
      align: 16,
      nanoseconds: size * CLEAR_NS,
      slices: { countAt: 1, steps: [4] },
    });
  }

  /** A tensor whose elements are whatever the memory held: for outputs that are written whole. */
  empty<D extends DType = 'float32'>(shape: readonly number[], dtype: D = 'float32' as D): Tensor<D> {
    return this.#uninitialized('empty', shape, dtype);
  }

  /** A quantised tensor whose weights are whatever the memory held: to be written whole. */
  emptyQuantized(checked: CheckedShape, dtype: WeightDType): QuantizedTensor {
    return emptyQuantized(this.#owner, checked, dtype);
  }

  #uninitialized<D extends DType>(where: string, shape: readonly number[], dtype: D): Tensor<D> {
    checkDType(where, dtype);
    const checked = checkShape(where, shape);
    return createTensor(this.#owner, this.allocator.allocate(checked.size * 4), checked, dtype);
  }

  /**
   * Runs `fn` and frees every tensor created inside, except those it returns: alone, or in arrays, maps and plain
   * objects. Nested scopes hand what they return to the scope around them. If `fn` throws, all it made is freed.
   * @throws UnsupportedError if `fn` returns a promise: a scope ends when `fn` returns
   */
  scope<T>(fn: () => T): T {
    return this.#scopes.scope(fn);
  }

  /**
   * Runs `fn` and lets every tensor created inside live as long as `tensor`: in the scope that frees `tensor`, or in
   * none if none does. For what a call makes and keeps for later, such as a cache that outgrows its tensor: the scope
   * in which the call happens must not free it. If `fn` throws, all it made is freed.
   * @throws DisposedError, ArgumentError if `tensor` is not a live tensor of these kernels, UnsupportedError if `fn`
   *   returns a promise
   */
  alongside<T>(tensor: Tensor, fn: () => T): T {
    if (!isTensor(tensor)) {
      throw new ArgumentError(`alongside: tensor must be a tensor, got ${show(tensor)}`);
    }
    if (!tensor.isIn(this.allocator)) {
      throw new ArgumentError(
        'alongside: tensor must be a tensor of these kernels, got one of other kernels',
      );
    }
    if (tensor.disposed) {
      throw new DisposedError(`alongside: tensor, of shape [${tensor.shape.join(', ')}], was disposed of`);
    }
    return this.#scopes.alongside(tensor, fn);
  }

  /** Number of live tensors. */
  get tensors(): number {
    return this.#scopes.tensors;
  }

  /** Frees all tensors except the `count` oldest. */
  freeBeyond(count: number): void {
    this.#scopes.freeBeyond(count);
  }

  /** How many threads compute, the calling one among them. */
  get threads(): number {
    return this.#pool?.threads ?? 1;
  }

  /** Who shares the calls, for tests. */
  get pool(): Pool | undefined {
    return this.#pool;
  }

  /** Ends the worker threads, if there are any. The kernels stay usable, on the calling thread. */
  dispose(): void {
    this.#pool?.end();
  }

  /**
   * Runs a kernel over all its units, on all threads if that is worth it. The kernel takes `args`, its working memory if
   * it has any, and which units to compute, `first` and `count`, or what `slices` makes of them.
   */
  run(name: KernelName, args: readonly number[], cut: Cut): void {
    const recording = this.#recording;
    if (recording === undefined) return this.#run(name, args, cut);
    if (this.#pool === undefined || cut.nanoseconds <= this.worthSharingNs) {
      return this.#run(name, args, cut, (kernel, of) => recording.note(kernel.bind(null, ...of)));
    }
    recording.note(() => this.#run(name, args, cut));
    this.#run(name, args, cut);
  }

  /** @param note  told of each call, where one thread makes them all */
  #run(
    name: KernelName,
    args: readonly number[],
    cut: Cut,
    note?: (kernel: Call, args: readonly number[]) => void,
  ): void {
    const { nanoseconds, align = 1, slices, mostPieces, partsPerThread = 4 } = cut;
    const threads = this.#isWorthSharing(nanoseconds) ? this.threads : 1;
    let { units } = cut;
    let pieces = 1;
    if (mostPieces !== undefined) {
      pieces = choosePieces(units, mostPieces, threads);
      units *= pieces;
      args = [...args, pieces];
    }
    let { grain } = cut;
    if (grain === undefined && threads > 1) {
      const most = Math.min(threads * partsPerThread, Math.ceil((nanoseconds * 4) / this.worthSharingNs));
      grain = Math.ceil(units / most / align) * align;
    }
    grain ??= units;
    const scratchBytes =
      typeof cut.scratchBytes === 'function'
        ? cut.scratchBytes(Math.min(grain, units), pieces)
        : cut.scratchBytes;
    if (threads > 1 && grain < units) {
      const job = { units, grain, slices };
      if (scratchBytes === undefined) return this.#pool!.run(name, args, job);
      const bytes = Math.ceil(scratchBytes / 64) * 64;
      return this.scratch(bytes * threads, (address) =>
        this.#pool!.run(name, args, { ...job, scratch: { address, bytes } }),
      );
    }
    const kernel = this.wasm[name] as unknown as Call;
    const call = (of: readonly number[]) => {
      for (let first = 0; first < units; first += grain) {
        const whole = slices !== undefined && grain >= units;
        const ofPart = whole ? of : argsOfPart(of, slices, first, Math.min(grain, units - first));
        kernel(...ofPart);
        note?.(kernel, ofPart);
      }
    };
    if (scratchBytes === undefined) return call(args);
    this.scratch(scratchBytes, (address) => call([...args, address]));
  }

  /**
   * Runs `fn` and notes the kernels that it calls, which `replay` of the recording then calls again: over the same tensors
   * from outside, and over the memory of those made inside, which stays taken until the recording is disposed of. `fn`
   * must do nothing else that depends on what may change: numbers, and elements that it writes, are those of this run.
   *
   * @returns the tensor that `fn` returned, which replaying fills anew, and the recording
   */
  record<D extends DType>(fn: () => Tensor<D>): { result: Tensor<D>; recording: Recording } {
    if (this.#recording !== undefined) throw new UnsupportedError('record: recordings must not be nested');
    const recording = new Recording(this);
    this.#recording = recording;
    this.allocator.startKeeping();
    let result: Tensor<D> | undefined;
    try {
      result = this.scope(fn);
      return { result, recording };
    } finally {
      this.#recording = undefined;
      const blocks = this.allocator.stopKeeping();
      if (result === undefined) for (const { start } of blocks) this.allocator.release(start);
      else {
        recording.buffers = blocks.map(({ start, bytes }) =>
          createTensor(
            this.#owner,
            start,
            checkShape('record', [Math.ceil(Math.max(bytes, 1) / 4)]),
            'float32',
          ),
        );
      }
    }
  }

  /** What `fn` computes from `source` alone: a recording computes it again only where `source` has changed. */
  derived(source: Tensor, fn: () => Tensor<'float32'>): Tensor<'float32'> {
    return this.#recording === undefined ? fn() : this.#recording.derived(source, fn);
  }

  /** Whether a call is shared among threads that would wait a good part of the time for the last of its units. */
  isUneven(units: number, nanoseconds: number): boolean {
    const { threads } = this;
    return (
      threads > 1 && nanoseconds > this.worthSharingNs && Math.ceil(units / threads) * threads > 1.2 * units
    );
  }

  /**
   * Whether to hand out a call. Workers that sleep are woken by a long one, or by many that follow each other: that takes
   * the caller about 5 us, and a worker is there only after 50.
   */
  #isWorthSharing(nanoseconds: number): boolean {
    const pool = this.#pool;
    if (pool === undefined || nanoseconds <= this.worthSharingNs) return false;
    if (pool.isAwake) return true;
    this.#missedNs += nanoseconds;
    if (nanoseconds < 8 * this.worthSharingNs && this.#missedNs < 25 * this.worthSharingNs) return false;
    this.#missedNs = 0;
    return true;
  }

  /** Working memory for one call of a kernel, freed when `use` returns. */
  scratch<T>(bytes: number, use: (address: number) => T): T {
    const address = this.allocator.allocate(bytes);
    try {
      return use(address);
    } finally {
      this.allocator.release(address);
    }
  }
}

/** Columns of a state, which do not depend on each other: pieces of a head are whole panels of 8 of them. */
export function mostPieces(columns: number): number {
  return columns % 8 === 0 ? columns / 8 : 1;
}

/** What a piece of a unit takes besides its share of the unit's time, as a part of that. */
const PIECE_OVERHEAD = 0.1;

/** Into how many pieces to cut units, for threads to be done with all of them soonest. */
export function choosePieces(units: number, most: number, threads: number): number {
  let best = 1;
  let shortest = Infinity;
  for (let pieces = 1; pieces <= most && pieces <= threads; pieces++) {
    if (most % pieces !== 0) continue;
    const time = Math.ceil((units * pieces) / threads) * (1 / pieces + PIECE_OVERHEAD);
    if (time < shortest) [best, shortest] = [pieces, time];
  }
  return best;
}

function checkDType(where: string, dtype: DType): void {
  if (dtype !== 'float32' && dtype !== 'int32')
    throw new ArgumentError(`${where}: dtype must be 'float32' or 'int32', got ${show(dtype)}`);
}
