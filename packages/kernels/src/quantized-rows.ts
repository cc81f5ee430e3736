import { FormatError, ShapeError } from '@freelunch/errors';
import type { Context } from './context.js';
import {
  checkLayout,
  bytesOf,
  quantizedBytes,
  type QuantizedTensor,
  settle,
  type WeightDType,
} from './quantized-tensor.js';
import { quantizeRows } from './quantization.js';
import type { Tensor } from './tensor.js';

/** A quantised tensor that loaders fill, some rows at a time, before anyone else sees it. */
export class QuantizedRows {
  readonly tensor: QuantizedTensor;
  readonly #context: Context;

  /** @throws ShapeError, ArgumentError, OutOfMemoryError */
  constructor(context: Context, where: string, shape: readonly number[], dtype: WeightDType) {
    this.#context = context;
    this.tensor = context.emptyQuantized(checkLayout(where, shape, dtype), dtype);
  }

  /** Bytes of a row, in memory and in a file. */
  get rowBytes(): number {
    return rowBytes(this.tensor);
  }

  /** Rounds `[count, k]` floats to the rows from `first` on. */
  writeFloats(first: number, x: Tensor): void {
    const { tensor } = this;
    if (x.shape[1] !== tensor.shape[1] || first + x.shape[0] > tensor.shape[0])
      throw new ShapeError(`QuantizedRows: ${String(x)} must fit ${String(tensor)} from row ${first} on`);
    quantizeRows(this.#context, tensor.pointer + first * this.rowBytes, x, tensor.dtype);
  }

  /** Copies whole rows, laid out as `k.quantizedTensor` takes them, to those from `first` on. */
  writeBytes(first: number, bytes: Uint8Array): void {
    const { tensor } = this;
    const offset = first * this.rowBytes;
    if (bytes.length % this.rowBytes !== 0 || offset + bytes.length > tensor.bytes)
      throw new ShapeError(
        `QuantizedRows: ${bytes.length} bytes must fit ${String(tensor)} from row ${first} on`,
      );
    new Uint8Array(this.#context.allocator.memory.buffer, tensor.pointer + offset, bytes.length).set(bytes);
  }

  /** The tensor, once all its rows are written. @throws FormatError if a scale is not finite */
  finish(where: string): QuantizedTensor {
    if (!settle(this.#context.wasm, this.tensor))
      throw new FormatError(
        `${where}: weights must have finite scales as ${this.tensor.dtype}, got one that is not`,
      );
    return this.tensor;
  }
}

const rowBytes = ({ shape, dtype }: QuantizedTensor): number => quantizedBytes(shape[1], dtype);

/** Bytes of some rows, laid out as `k.quantizedTensor` takes them: a copy. */
export function readRows(
  context: Context,
  tensor: QuantizedTensor,
  first: number,
  count: number,
): Uint8Array<ArrayBuffer> {
  const bytes = rowBytes(tensor);
  return bytesOf(tensor, context.allocator.memory, first * bytes, count * bytes);
}
