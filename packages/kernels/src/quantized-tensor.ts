/// <reference lib="esnext.disposable" preserve="true" />
import { ArgumentError, DisposedError, ShapeError, show } from '@freelunch/errors';
import type { Allocator } from './memory.js';
import { type CheckedShape, checkShape, disposeSymbol, uncloneable } from './tensor.js';
import type { WasmExports } from './wasm-exports.js';

/** Element types of weights that take less room than float32: see {@link QuantizedTensor}. */
export type WeightDType = 'float16' | 'bfloat16' | 'int8' | 'int4';

/** Numbers of the dtypes, as the kernels take them: `assembly/src/quantization/formats.ts`. */
const numbers: Readonly<Record<WeightDType, number>> = { float16: 1, bfloat16: 2, int8: 3, int4: 4 };
/** Added where float16 are wide. */
const WIDE = 4;
const names = Object.keys(numbers) as WeightDType[];

/** Weights of `int8` and `int4` that share a scale. */
export const BLOCK = 32;
/** Bytes of so many weights. */
const layouts = {
  float16: { weights: 1, bytes: 2 },
  bfloat16: { weights: 1, bytes: 2 },
  int8: { weights: BLOCK, bytes: 34 },
  int4: { weights: BLOCK, bytes: 18 },
} as const;

/** Whose memory it lies in, and who is told of its beginning and end. */
export interface QuantizedOwner {
  readonly allocator: Allocator;
  onCreate(tensor: QuantizedTensor): void;
  onDispose(tensor: QuantizedTensor): void;
}

const inspectSymbol = Symbol.for('nodejs.util.inspect.custom');
const KEY = Symbol('key');

let make: (
  owner: QuantizedOwner,
  address: number,
  checked: CheckedShape,
  dtype: WeightDType,
) => QuantizedTensor;
let isOne: (value: object) => boolean;
let isWide: (tensor: QuantizedTensor) => boolean;
let markWide: (tensor: QuantizedTensor) => void;

/**
 * A matrix of weights, `[rows, k]`, in less room than float32, which `k.matmul` takes as `b` (with `transposeB`) and
 * `k.embedding` as `weight`. Made by `k.quantize` and `k.quantizedTensor`, never by `new`; it does not change.
 *
 * | dtype      | bytes per weight | a weight w, rounded from x, differs from it by at most                        |
 * | ---------- | ---------------- | ------------------------------------------------------------------------------ |
 * | `float16`  | 2                | 2^-11 of x, 2^-25 for x below 2^-14; beyond 65504 infinite                     |
 * | `bfloat16` | 2                | 2^-8 of x                                                                      |
 * | `int8`     | 34 / 32          | 0.45 % of the largest magnitude in its block                                   |
 * | `int4`     | 18 / 32          | 6.3 % of it; 12.6 % where x is opposite in sign to the largest, and as large    |
 *
 * Blocks are 32 neighbours in a row, with a float16 scale: `k` must be a multiple of 32 for `int8` and `int4`.
 */
export class QuantizedTensor implements Disposable {
  readonly #owner: QuantizedOwner;
  readonly #checked: CheckedShape;
  readonly #dtype: WeightDType;
  #address: number | undefined;
  #wide = false;
  protected readonly elements = uncloneable;

  private constructor(
    key: symbol,
    owner: QuantizedOwner,
    address: number,
    checked: CheckedShape,
    dtype: WeightDType,
  ) {
    if (key !== KEY || new.target !== QuantizedTensor) {
      throw new ArgumentError(
        'QuantizedTensor: quantised tensors are made by k.quantize and k.quantizedTensor, not by new',
      );
    }
    this.#owner = owner;
    this.#address = address;
    this.#checked = checked;
    this.#dtype = dtype;
    Object.preventExtensions(this);
    owner.onCreate(this);
  }

  static {
    make = (owner, address, checked, dtype) => new QuantizedTensor(KEY, owner, address, checked, dtype);
    isOne = (value) => #address in value;
    isWide = (tensor) => tensor.#wide;
    markWide = (tensor) => (tensor.#wide = true);
    Object.freeze(this.prototype);
  }

  /** True for quantised tensors alone: not for what only inherits from them or stands in for one. */
  static [Symbol.hasInstance](value: unknown): value is QuantizedTensor {
    return isQuantized(value);
  }

  /** `[rows, k]`. */
  get shape(): readonly number[] {
    return this.#checked.shape;
  }

  get dtype(): WeightDType {
    return this.#dtype;
  }

  /** Number of weights. */
  get size(): number {
    return this.#checked.size;
  }

  /** Bytes in memory. */
  get bytes(): number {
    return quantizedBytes(this.#checked.size, this.#dtype);
  }

  /** Byte address in WASM memory, for kernels. @throws DisposedError */
  get pointer(): number {
    if (this.#address === undefined) {
      throw new DisposedError(
        `pointer: the quantised tensor of shape [${this.shape.join(', ')}] was disposed of`,
      );
    }
    return this.#address;
  }

  /** True after `dispose`. */
  get disposed(): boolean {
    return this.#address === undefined;
  }

  /**
   * True if it lies in the memory that this allocator manages.
   * @internal
   */
  isIn(allocator: Allocator): boolean {
    return this.#owner.allocator === allocator;
  }

  /** A copy of the weights, laid out as `k.quantizedTensor` takes them. @throws DisposedError */
  toBytes(): Uint8Array<ArrayBuffer> {
    return bytesOf(this, this.#owner.allocator.memory, 0, this.bytes);
  }

  /** Frees the memory. A second call does nothing. */
  dispose(): void {
    const address = this.#address;
    if (address === undefined) return;
    this.#address = undefined;
    this.#owner.onDispose(this);
    this.#owner.allocator.release(address);
  }

  [disposeSymbol](): void {
    this.dispose();
  }

  toString(): string {
    return `QuantizedTensor<${this.#dtype}>[${this.shape.join(', ')}]${this.disposed ? ' (disposed)' : ''}`;
  }

  get [Symbol.toStringTag](): string {
    return 'QuantizedTensor';
  }

  /** What `console.log` shows in Node: private fields would not be seen. */
  [inspectSymbol](): string {
    return this.toString();
  }
}
Object.freeze(QuantizedTensor);

/** True for what this module made. */
export function isQuantized(value: unknown): value is QuantizedTensor {
  return typeof value === 'object' && value !== null && isOne(value);
}

/** One whose weights are whatever the memory held, to be written whole before anyone sees it. */
export function emptyQuantized(
  owner: QuantizedOwner,
  checked: CheckedShape,
  dtype: WeightDType,
): QuantizedTensor {
  return make(owner, owner.allocator.allocate(quantizedBytes(checked.size, dtype)), checked, dtype);
}

/** Bytes of so many weights: whole rows. */
export function quantizedBytes(size: number, dtype: WeightDType): number {
  const { weights, bytes } = layouts[dtype];
  return (size / weights) * bytes;
}

/** How the weights lie in memory, as the kernels take it. */
export const layoutNumber = (tensor: QuantizedTensor): number =>
  numbers[tensor.dtype] + (isWide(tensor) ? WIDE : 0);

/** The same for weights that are being made. */
export const dtypeNumber = (dtype: WeightDType): number => numbers[dtype];

/** @throws ArgumentError unless it is a dtype of weights, ShapeError unless the shape is of whole rows of it */
export function checkLayout(where: string, shape: readonly number[], dtype: WeightDType): CheckedShape {
  if (!names.includes(dtype)) {
    throw new ArgumentError(`${where}: dtype must be one of ${names.join(', ')}, got ${show(dtype)}`);
  }
  const checked = checkShape(where, shape);
  const got = `[${checked.shape.join(', ')}]`;
  if (checked.shape.length !== 2)
    throw new ShapeError(`${where}: quantised tensors are [rows, k], got ${got}`);
  const { weights } = layouts[dtype];
  if (checked.shape[1] % weights !== 0) {
    throw new ShapeError(
      `${where}: k of [rows, k] must be a multiple of ${weights} for ${dtype}, got ${got}`,
    );
  }
  return checked;
}

/**
 * Makes what was written ready for the kernels: see WIDE in `assembly/src/quantization/formats.ts`.
 * @returns false if a block has a scale that is not finite
 */
export function settle(wasm: WasmExports, tensor: QuantizedTensor): boolean {
  if (tensor.dtype === 'bfloat16' || isWide(tensor)) return true;
  const { weights, bytes } = layouts[tensor.dtype];
  const count = tensor.size / weights;
  const wide = wasm.widen(tensor.pointer, count, bytes) !== 0;
  if (wide) markWide(tensor);
  return wide || weights === 1 || wasm.areFiniteHalves(tensor.pointer, count, bytes) !== 0;
}

/** A copy of some bytes, whole weights or blocks, as they came. */
export function bytesOf(
  tensor: QuantizedTensor,
  memory: WebAssembly.Memory,
  first: number,
  count: number,
): Uint8Array<ArrayBuffer> {
  // In two steps: a slice of shared memory would be shared.
  const bytes = new Uint8Array(new Uint8Array(memory.buffer, tensor.pointer + first, count));
  if (!isWide(tensor)) return bytes;
  const view = new DataView(bytes.buffer);
  const stride = layouts[tensor.dtype].bytes;
  for (let at = 0; at < count; at += stride) view.setUint16(at, narrowed(view.getUint16(at, true)), true);
  return bytes;
}

/** The float16 that a wide one was: the inverse of `widen`. */
function narrowed(wide: number): number {
  const exponent = (wide >> 10) & 31;
  if (exponent > 10) return wide - (10 << 10);
  return (wide & 0x8000) | (exponent === 0 ? 0 : (1024 | (wide & 1023)) >> (11 - exponent));
}
