import { ArgumentError, DisposedError, DTypeError, ShapeError, show } from '@freelunch/errors';
import type { Context } from './context.js';
import { isQuantized, type QuantizedTensor } from './quantized-tensor.js';
import { type DType, isTensor, type Tensor } from './tensor.js';

/** A size in a wanted shape: a name that is bound where it first occurs, or a number. */
export type Extent = string | number;

/**
 * Checks the arguments of one public function: kernels trust what reaches them.
 *
 * Sizes are bound by name: the first tensor that has a `seqLen` says what it is, later ones must agree.
 *
 *   const check = new Check('selectiveScan', k);
 *   check.float32('u', u, ['batch', 'seqLen', 'dInner']);
 *   check.float32('D', D, ['dInner']);  // selectiveScan: D must be [dInner] = [5], got [5, 8]
 *   const { batch, seqLen, dInner } = check.sizes;
 */
export class Check {
  readonly sizes: Record<string, number> = {};
  readonly #where: string;
  readonly #context: Context;

  constructor(where: string, context: Context) {
    this.#where = where;
    this.#context = context;
  }

  float32(name: string, tensor: Tensor | QuantizedTensor | undefined, shape: readonly Extent[]): void {
    this.#tensor(name, tensor, 'float32', shape);
  }

  int32(name: string, tensor: Tensor | undefined, shape: readonly Extent[]): void {
    this.#tensor(name, tensor, 'int32', shape);
  }

  /** A quantised tensor. */
  quantized(name: string, tensor: QuantizedTensor | undefined, shape: readonly Extent[]): void {
    if (!isQuantized(tensor)) {
      const got = tensor === undefined ? 'nothing' : isTensor(tensor) ? String(tensor) : show(tensor);
      throw new DTypeError(`${this.#where}: ${name} must be a quantised tensor, got ${got}`);
    }
    this.#mine(name, tensor);
    this.#shape(name, tensor, shape);
  }

  /** As `float32`, for an argument that may be absent. @returns its address, 0 if absent */
  optional(name: string, tensor: Tensor | undefined, shape: readonly Extent[]): number {
    if (tensor === undefined) return 0;
    this.float32(name, tensor, shape);
    return tensor.pointer;
  }

  /** Checks that it is a live float32 tensor, whatever its shape (for arguments with several legal ranks). */
  rank(name: string, tensor: Tensor | QuantizedTensor | undefined): number {
    this.#live(name, tensor, 'float32');
    return tensor!.shape.length;
  }

  /** @throws ArgumentError unless `value` is a whole number in [min, max] */
  integer(name: string, value: number, min: number, max = 2 ** 31 - 1): void {
    if (!Number.isInteger(value) || value < min || value > max) {
      this.argument(name, `a whole number from ${min} to ${max}`, value);
    }
  }

  /** @throws ArgumentError unless `value` is a finite number in [min, max] */
  number(name: string, value: number, min = -Infinity, max = Infinity): void {
    if (!Number.isFinite(value) || value < min || value > max) {
      const range = min === -Infinity && max === Infinity ? '' : ` from ${min} to ${max}`;
      this.argument(name, `a finite number${range}`, value);
    }
  }

  /** @throws ArgumentError unless `value` is a number in [0, 1) */
  factor(name: string, value: number): void {
    if (typeof value !== 'number' || !(value >= 0 && value < 1)) {
      this.argument(name, 'a number from 0 up, below 1', value);
    }
  }

  /** @throws ArgumentError unless `value` is one of `options` */
  oneOf(name: string, value: string, options: readonly string[]): void {
    if (!options.includes(value)) this.argument(name, `one of ${options.join(', ')}`, value);
  }

  /** @throws ArgumentError: wanted this, got that */
  argument(name: string, wanted: string, got: unknown): never {
    throw new ArgumentError(
      `${this.#where}: ${name} must be ${wanted}, got ${isTensor(got) || isQuantized(got) ? String(got) : show(got)}`,
    );
  }

  /** @throws ShapeError: wanted this, got the shape of `tensor` */
  shape(name: string, wanted: string, tensor: Tensor | QuantizedTensor): never {
    throw new ShapeError(`${this.#where}: ${name} must be ${wanted}, got [${tensor.shape.join(', ')}]`);
  }

  #tensor(
    name: string,
    tensor: Tensor | QuantizedTensor | undefined,
    dtype: DType,
    shape: readonly Extent[],
  ): void {
    this.#live(name, tensor, dtype);
    this.#shape(name, tensor!, shape);
  }

  #shape(name: string, tensor: Tensor | QuantizedTensor, shape: readonly Extent[]): void {
    const got = tensor.shape;
    const fits =
      got.length === shape.length &&
      shape.every((extent, i) => {
        if (typeof extent === 'number') return extent === got[i];
        return this.sizes[extent] === undefined || this.sizes[extent] === got[i];
      });
    if (!fits) {
      const known = shape.map((extent) =>
        typeof extent === 'number' ? extent : (this.sizes[extent] ?? extent),
      );
      const named = shape.some((extent, i) => extent !== known[i]) ? ` = [${known.join(', ')}]` : '';
      this.shape(name, `[${shape.join(', ')}]${named}`, tensor);
    }
    shape.forEach((extent, i) => {
      if (typeof extent === 'string') this.sizes[extent] = got[i];
    });
  }

  #live(name: string, tensor: Tensor | QuantizedTensor | undefined, dtype: DType): void {
    if (isQuantized(tensor)) {
      throw new DTypeError(
        `${this.#where}: ${name} must be a ${dtype} tensor, got a quantised one, ${String(tensor)}: matmul takes those as b and embedding as weight, k.dequantize gives float32`,
      );
    }
    if (!isTensor(tensor)) {
      throw new DTypeError(
        `${this.#where}: ${name} must be a ${dtype} tensor, got ${tensor === undefined ? 'nothing' : show(tensor)}`,
      );
    }
    this.#mine(name, tensor);
    if (tensor.dtype !== dtype)
      throw new DTypeError(`${this.#where}: ${name} must be ${dtype}, got ${tensor.dtype}`);
  }

  /** Checks that it is live and one of these kernels. */
  #mine(name: string, tensor: Tensor | QuantizedTensor): void {
    if (tensor.disposed)
      throw new DisposedError(
        `${this.#where}: ${name}, a tensor of shape [${tensor.shape.join(', ')}], was disposed of`,
      );
    if (!tensor.isIn(this.#context.allocator)) {
      throw new ArgumentError(
        `${this.#where}: ${name} must be a tensor of these kernels, got one of other kernels`,
      );
    }
  }
}
