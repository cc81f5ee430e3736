import { ArgumentError, DisposedError, DTypeError, ShapeError } from './errors.js';
import type { Allocator } from './memory.js';

/** Element types of tensors: 32-bit floats and 32-bit signed integers (token ids, targets, masks). */
export type DType = 'float32' | 'int32';

/** The typed array that holds elements of a {@link DType}. */
export interface TypedArrays {
  float32: Float32Array;
  int32: Int32Array;
}

/** What a tensor can be made from. */
export type TensorData = Float32Array | Float64Array | Int32Array | Uint8Array | readonly number[];

/** A run of bytes in WASM memory that one or more tensors look at. */
export interface Block {
  readonly address: number;
  users: number;
}

const disposeSymbol: typeof Symbol.dispose = Symbol.dispose ?? (Symbol.for('Symbol.dispose') as never);

/** The number of elements of a shape; checks that each size is a whole number from 1 up. */
export function elementCount(where: string, shape: readonly number[]): number {
  let size = 1;
  for (const extent of shape) {
    if (!Number.isInteger(extent) || extent < 1) {
      throw new ShapeError(
        `${where}: every size in shape must be a whole number from 1 up, got [${shape.join(', ')}]`,
      );
    }
    size *= extent;
  }
  if (size > 2 ** 30)
    throw new ShapeError(
      `${where}: shape [${shape.join(', ')}] has ${size} elements; 2^30 fit into WASM memory`,
    );
  return size;
}

/** An array in WASM memory: row-major, contiguous. Made by `k.tensor`, `k.zeros` and by every kernel. */
export class Tensor<D extends DType = DType> implements Disposable {
  readonly shape: readonly number[];
  readonly dtype: D;
  /** Number of elements. */
  readonly size: number;
  readonly #allocator: Allocator;
  readonly #onDispose: (tensor: Tensor) => void;
  readonly #onCreate: (tensor: Tensor) => void;
  #block: Block | undefined;
  #view: TypedArrays[D] | undefined;

  /** @internal */
  constructor(
    allocator: Allocator,
    block: Block,
    shape: readonly number[],
    dtype: D,
    hooks: { onCreate: (tensor: Tensor) => void; onDispose: (tensor: Tensor) => void },
  ) {
    this.#allocator = allocator;
    this.#block = block;
    this.#onCreate = hooks.onCreate;
    this.#onDispose = hooks.onDispose;
    this.shape = Object.freeze([...shape]);
    this.dtype = dtype;
    this.size = elementCount('Tensor', shape);
    block.users++;
    this.#onCreate(this as unknown as Tensor);
  }

  /** Byte address in WASM memory, for kernels. @throws DisposedError */
  get pointer(): number {
    return this.#live('pointer').address;
  }

  /** True after `dispose`. */
  get disposed(): boolean {
    return this.#block === undefined;
  }

  /** True if another tensor looks at the same memory: what is written here shows there. */
  get shared(): boolean {
    return this.#block !== undefined && this.#block.users > 1;
  }

  /** True if the tensor lies in the memory that this allocator manages. */
  isIn(allocator: Allocator): boolean {
    return this.#allocator === allocator;
  }

  /**
   * A live view of the elements. Read it anew after every call of a kernel: memory that grows takes old views away
   * (their length becomes 0), and `data` then gives a new one.
   * @throws DisposedError
   */
  get data(): TypedArrays[D] {
    const { address } = this.#live('data');
    const { buffer } = this.#allocator.memory;
    if (this.#view === undefined || this.#view.buffer !== buffer) {
      const view =
        this.dtype === 'float32'
          ? new Float32Array(buffer, address, this.size)
          : new Int32Array(buffer, address, this.size);
      this.#view = view as TypedArrays[D];
    }
    return this.#view;
  }

  /** A copy of the elements that stays valid. @throws DisposedError */
  toArray(): TypedArrays[D] {
    return this.data.slice() as TypedArrays[D];
  }

  /** Writes elements over the present ones. @throws ShapeError if their number differs */
  set(data: TensorData): void {
    if (data.length !== this.size)
      throw new ShapeError(`set: data must have ${this.size} elements, got ${data.length}`);
    checkElements('set', data, this.dtype);
    this.data.set(data);
  }

  /**
   * The same elements under another shape: a second tensor on the same memory, to be disposed of on its own.
   * @throws ShapeError if the number of elements differs
   */
  reshape(shape: readonly number[]): Tensor<D> {
    const block = this.#live('reshape');
    if (elementCount('reshape', shape) !== this.size) {
      throw new ShapeError(
        `reshape: shape must have ${this.size} elements as [${this.shape.join(', ')}], got [${shape.join(', ')}]`,
      );
    }
    return new Tensor(this.#allocator, block, shape, this.dtype, {
      onCreate: this.#onCreate,
      onDispose: this.#onDispose,
    });
  }

  /** Frees the memory, once no other view is left on it. A second call does nothing. */
  dispose(): void {
    const block = this.#block;
    if (block === undefined) return;
    this.#block = undefined;
    this.#view = undefined;
    this.#onDispose(this as unknown as Tensor);
    if (--block.users === 0) this.#allocator.release(block.address);
  }

  [disposeSymbol](): void {
    this.dispose();
  }

  toString(): string {
    return `Tensor<${this.dtype}>[${this.shape.join(', ')}]${this.disposed ? ' (disposed)' : ''}`;
  }

  #live(what: string): Block {
    if (this.#block === undefined)
      throw new DisposedError(`${what}: the tensor of shape [${this.shape.join(', ')}] was disposed of`);
    return this.#block;
  }
}

/** Refuses elements that the dtype cannot hold: fractions or NaN among integers. */
export function checkElements(where: string, data: TensorData, dtype: DType): void {
  if (dtype === 'float32' || data instanceof Int32Array || data instanceof Uint8Array) return;
  for (let i = 0; i < data.length; i++) {
    if ((data[i] | 0) !== data[i])
      throw new DTypeError(`${where}: data must be 32-bit integers, got ${data[i]} at ${i}`);
  }
}

/** The dtype a tensor takes from its data if none is given. */
export function dtypeOf(where: string, data: TensorData): DType {
  if (data instanceof Int32Array || data instanceof Uint8Array) return 'int32';
  if (data instanceof Float32Array || data instanceof Float64Array || Array.isArray(data)) return 'float32';
  throw new ArgumentError(
    `${where}: data must be a Float32Array, Float64Array, Int32Array, Uint8Array or array of numbers, got ${typeof data}`,
  );
}
