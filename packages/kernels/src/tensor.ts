/// <reference lib="esnext.disposable" preserve="true" />
import {
  ArgumentError,
  DisposedError,
  DTypeError,
  OutOfMemoryError,
  ShapeError,
  show,
} from '@freelunch/errors';
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

/** Whose memory a tensor lies in, and who is told of its beginning and end. */
export interface TensorOwner {
  readonly allocator: Allocator;
  onCreate(tensor: Tensor): void;
  onDispose(tensor: Tensor): void;
}

/** `Symbol.dispose`, in runtimes too that do not have it yet. */
export const disposeSymbol: typeof Symbol.dispose = Symbol.dispose ?? (Symbol.for('Symbol.dispose') as never);
const inspectSymbol = Symbol.for('nodejs.util.inspect.custom');

/** Known in this module alone: an address never comes from outside. */
const KEY = Symbol('key');

/** More than any program uses; bounds the work on a list that lies about its length. */
const MOST_AXES = 64;

/** A shape that was read once and checked: nothing can change it any more. */
export interface CheckedShape {
  readonly shape: readonly number[];
  /** Number of elements. */
  readonly size: number;
}

/** Takes a copy of a shape, reading each size once. @throws ShapeError unless each is a whole number from 1 up */
export function checkShape(where: string, shape: readonly number[]): CheckedShape {
  if (!Array.isArray(shape))
    throw new ShapeError(`${where}: shape must be an array of sizes, got ${show(shape)}`);
  const rank = shape.length;
  if (rank > MOST_AXES)
    throw new ShapeError(`${where}: shape must have at most ${MOST_AXES} sizes, got ${rank}`);
  const sizes: number[] = [];
  for (let i = 0; i < rank; i++) sizes.push(shape[i] as number);
  let size = 1;
  for (let i = 0; i < rank; i++) {
    const extent = sizes[i];
    if (!Number.isInteger(extent) || extent < 1) {
      throw new ShapeError(
        `${where}: every size in shape must be a whole number from 1 up, got [${sizes.map(show).join(', ')}]`,
      );
    }
    size *= extent;
  }
  if (size > 2 ** 30)
    throw new ShapeError(
      `${where}: shape [${sizes.join(', ')}] has ${size} elements; 2^30 fit into WASM memory`,
    );
  return { shape: Object.freeze(sizes), size };
}

/** A value that `structuredClone` and `postMessage` refuse, with this as the reason. */
export const uncloneable = Symbol(
  'the elements of a tensor, which lie in WASM memory: pass what toArray or toBytes gives: it',
);

let make: <D extends DType>(owner: TensorOwner, block: Block, checked: CheckedShape, dtype: D) => Tensor<D>;
let hasBlock: (value: object) => boolean;

/**
 * An array in WASM memory: row-major, contiguous. Made by `k.tensor`, `k.zeros` and by every kernel, never by `new`.
 *
 * Kernels trust address, shape and dtype of a tensor. So these are private fields, read through a prototype that is
 * frozen, and no property can be added that would hide them.
 */
export class Tensor<D extends DType = DType> implements Disposable {
  readonly #owner: TensorOwner;
  readonly #shape: readonly number[];
  readonly #dtype: D;
  readonly #size: number;
  #block: Block | undefined;
  #view: TypedArrays[D] | undefined;
  /** Private fields are not cloned: a copy in another thread would be an object without anything in it. */
  protected readonly elements = uncloneable;

  private constructor(key: symbol, owner: TensorOwner, block: Block, checked: CheckedShape, dtype: D) {
    if (key !== KEY || new.target !== Tensor) {
      throw new ArgumentError('Tensor: tensors are made by k.tensor, k.zeros and the kernels, not by new');
    }
    this.#owner = owner;
    this.#block = block;
    this.#shape = checked.shape;
    this.#dtype = dtype;
    this.#size = checked.size;
    this.#view = undefined;
    block.users++;
    Object.preventExtensions(this);
    owner.onCreate(this as unknown as Tensor);
  }

  static {
    make = (owner, block, checked, dtype) => new Tensor(KEY, owner, block, checked, dtype);
    hasBlock = (value) => #block in value;
    Object.freeze(this.prototype);
  }

  /** True for tensors alone: not for what only inherits from them or stands in for one. */
  static [Symbol.hasInstance](value: unknown): value is Tensor {
    return isTensor(value);
  }

  /** Sizes of the axes; `[]` for a single number. */
  get shape(): readonly number[] {
    return this.#shape;
  }

  get dtype(): D {
    return this.#dtype;
  }

  /** Number of elements. */
  get size(): number {
    return this.#size;
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

  /**
   * True if the tensor lies in the memory that this allocator manages.
   * @internal
   */
  isIn(allocator: Allocator): boolean {
    return this.#owner.allocator === allocator;
  }

  /**
   * A live view of the elements. Read it anew after every call of a kernel: growing the memory invalidates old views
   * (their length becomes 0), and `data` then gives a new one. With threads it lies in a `SharedArrayBuffer`, which some
   * functions of a runtime do not take (`TextDecoder`, `crypto.subtle`): `toArray` gives them a copy.
   * @throws DisposedError
   */
  get data(): TypedArrays[D] {
    const { address } = this.#live('data');
    const { buffer } = this.#owner.allocator.memory;
    if (this.#view === undefined || this.#view.buffer !== buffer) {
      const view =
        this.#dtype === 'float32'
          ? new Float32Array(buffer, address, this.#size)
          : new Int32Array(buffer, address, this.#size);
      this.#view = view as TypedArrays[D];
    }
    return this.#view;
  }

  /** A copy of the elements that stays valid. @throws DisposedError */
  toArray(): TypedArrays[D] {
    return this.data.slice() as TypedArrays[D];
  }

  /** Writes elements over the present ones. @throws ShapeError if their number differs, DTypeError */
  set(data: TensorData): void {
    const elements = takeElements('set', data, this.#dtype);
    if (elements.length !== this.#size)
      throw new ShapeError(`set: data must have ${this.#size} elements, got ${elements.length}`);
    this.data.set(elements.data);
  }

  /**
   * The same elements under another shape: a second tensor on the same memory, to be disposed of on its own.
   * @throws ShapeError if the number of elements differs
   */
  reshape(shape: readonly number[]): Tensor<D> {
    const checked = checkShape('reshape', shape);
    if (checked.size !== this.#size) {
      throw new ShapeError(
        `reshape: shape must have ${this.#size} elements as [${this.#shape.join(', ')}], got [${checked.shape.join(', ')}]`,
      );
    }
    return make(this.#owner, this.#live('reshape'), checked, this.#dtype);
  }

  /** Frees the memory, once no other view is left on it. A second call does nothing. */
  dispose(): void {
    const block = this.#block;
    if (block === undefined) return;
    this.#block = undefined;
    this.#view = undefined;
    this.#owner.onDispose(this as unknown as Tensor);
    if (--block.users === 0) this.#owner.allocator.release(block.address);
  }

  [disposeSymbol](): void {
    this.dispose();
  }

  toString(): string {
    return `Tensor<${this.#dtype}>[${this.#shape.join(', ')}]${this.disposed ? ' (disposed)' : ''}`;
  }

  get [Symbol.toStringTag](): string {
    return 'Tensor';
  }

  /** What `console.log` shows in Node: private fields would not be seen. */
  [inspectSymbol](): string {
    return this.toString();
  }

  #live(what: string): Block {
    if (this.#block === undefined)
      throw new DisposedError(`${what}: the tensor of shape [${this.#shape.join(', ')}] was disposed of`);
    return this.#block;
  }
}
Object.freeze(Tensor);

/** A tensor on a new block, whose first user it is. */
export function createTensor<D extends DType>(
  owner: TensorOwner,
  address: number,
  checked: CheckedShape,
  dtype: D,
): Tensor<D> {
  return make(owner, { address, users: 0 }, checked, dtype);
}

/** True for what this module made. */
export function isTensor(value: unknown): value is Tensor {
  return typeof value === 'object' && value !== null && hasBlock(value);
}

const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as object;
const getterOf = (name: string | symbol) => Object.getOwnPropertyDescriptor(typedArray, name)!.get!;
const tagOf = getterOf(Symbol.toStringTag);
const lengthOf = getterOf('length');
const bufferOf = getterOf('buffer');
const offsetOf = getterOf('byteOffset');

/** What elements are copied from: a typed array, and its length as no property of its own can misstate it. */
export interface Elements {
  data: Exclude<TensorData, readonly number[]>;
  length: number;
}

/** Bytes, whatever properties they have of their own. @throws ArgumentError for what is no Uint8Array */
export function takeBytes(where: string, bytes: Uint8Array): Uint8Array {
  if (tagOf.call(bytes) !== 'Uint8Array') {
    throw new ArgumentError(`${where}: bytes must be a Uint8Array, got ${show(bytes)}`);
  }
  const length = lengthOf.call(bytes) as number; // 0 where its memory is gone
  const offset = offsetOf.call(bytes) as number;
  return length === 0
    ? new Uint8Array()
    : new Uint8Array(bufferOf.call(bytes) as ArrayBuffer, offset, length);
}

const arrays = { Float32Array, Float64Array, Int32Array, Uint8Array };

/**
 * What a typed array is after an allocation. Where that grows the memory, views of it are detached: an array that lay in
 * the memory, such as the `data` of a tensor, lies in the new one.
 */
export function followGrowth<T extends Elements['data']>({ memory }: Allocator, array: T): () => T {
  const buffer = bufferOf.call(array) as ArrayBuffer;
  if (buffer !== memory.buffer) return () => array;
  const offset = offsetOf.call(array) as number;
  const length = lengthOf.call(array) as number;
  const View = arrays[tagOf.call(array) as keyof typeof arrays];
  return () => (buffer === memory.buffer ? array : (new View(memory.buffer, offset, length) as T));
}

/**
 * Elements that are numbers the dtype can hold. A plain array is read once, into a copy: reading it may run the
 * caller's code.
 *
 * @throws DTypeError for what is no number, or not a 32-bit integer where one is wanted
 */
export function takeElements(where: string, data: TensorData, dtype: DType): Elements {
  const from = dtypeOf(where, data);
  if (!Array.isArray(data)) {
    const elements = data as Elements['data'];
    const length = lengthOf.call(elements) as number;
    if (dtype === 'int32' && from === 'float32')
      for (let i = 0; i < length; i++) checkInteger(where, elements[i], i);
    return { data: elements, length };
  }
  const list = data as readonly unknown[];
  const { length } = list;
  const elements = staging(where, length, dtype);
  for (let i = 0; i < length; i++) {
    const value = list[i];
    if (typeof value !== 'number')
      throw new DTypeError(`${where}: data must be numbers, got ${show(value)} at ${i}`);
    if (dtype === 'int32') checkInteger(where, value, i);
    elements[i] = value;
  }
  return { data: elements, length };
}

function checkInteger(where: string, value: number, i: number): void {
  if ((value | 0) !== value)
    throw new DTypeError(`${where}: data must be 32-bit integers, got ${value} at ${i}`);
}

function staging(where: string, length: number, dtype: DType): Float32Array | Int32Array {
  try {
    return dtype === 'float32' ? new Float32Array(length) : new Int32Array(length);
  } catch (cause) {
    throw new OutOfMemoryError(`${where}: no room for ${length} elements`, { cause });
  }
}

/** The dtype a tensor takes from its data if none is given. @throws ArgumentError for data of another kind */
export function dtypeOf(where: string, data: unknown): DType {
  switch (tagOf.call(data)) {
    case 'Int32Array':
    case 'Uint8Array':
      return 'int32';
    case 'Float32Array':
    case 'Float64Array':
      return 'float32';
  }
  if (Array.isArray(data)) return 'float32';
  throw new ArgumentError(
    `${where}: data must be a Float32Array, Float64Array, Int32Array, Uint8Array or array of numbers, got ${typeof data}`,
  );
}
