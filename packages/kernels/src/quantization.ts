import { ArgumentError, FormatError, ShapeError } from '@freelunch/errors';
import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import {
  checkLayout,
  dtypeNumber,
  layoutNumber,
  settle,
  type QuantizedTensor,
  type WeightDType,
} from './quantized-tensor.js';
import { MOVE_NS } from './slices.js';
import { followGrowth, takeBytes, type Tensor } from './tensor.js';

/** Arguments of {@link quantize}. */
export interface QuantizeArgs {
  x: Tensor;
  dtype: WeightDType;
}

/** Arguments of {@link dequantize}. */
export interface DequantizeArgs {
  x: QuantizedTensor;
}

/** Nanoseconds per weight that is rounded. */
const ROUND_NS = 2;

/**
 * Weights in less room, rounded to the nearest that the dtype has: `float16` and `bfloat16` with ties to even, `int8`
 * and `int4` as llama.cpp's reference quantises to Q8_0 and Q4_0, bit for bit. {@link QuantizedTensor} states the errors.
 *
 * @param x      `[rows, k]`; `k` a multiple of 32 for `int8` and `int4`
 * @param dtype  `float16`, `bfloat16`, `int8` or `int4`
 * @returns `[rows, k]`
 * @throws ShapeError, ArgumentError if `x` holds what `int8` or `int4` have no scale for: NaN, or numbers too large
 * @see https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-quants.c, `quantize_row_q8_0_ref` and
 *   `quantize_row_q4_0_ref`
 */
export function quantize(context: Context, { x, dtype }: QuantizeArgs): QuantizedTensor {
  new Check('quantize', context).float32('x', x, ['rows', 'k']);
  const checked = checkLayout('quantize', x.shape, dtype);
  const y = context.emptyQuantized(checked, dtype);
  quantizeRows(context, y.pointer, x, dtype);
  if (!settle(context.wasm, y)) {
    throw new ArgumentError(
      `quantize: x must be finite and fit ${dtype}, whose scale of a block is at most 65504; got NaN or numbers too large`,
    );
  }
  return y;
}

/** Rounds the rows of `x`, `[rows, k]`, to rows of a quantised tensor at an address. */
export function quantizeRows(context: Context, y: number, x: Tensor, dtype: WeightDType): void {
  const [rows, k] = x.shape;
  context.run('quantizeForward', [y, x.pointer, k, dtypeNumber(dtype)], {
    units: rows,
    nanoseconds: x.size * ROUND_NS,
  });
}

/** See `Kernels`. */
export function quantizedTensor(
  context: Context,
  bytes: Uint8Array,
  shape: readonly number[],
  dtype: WeightDType,
): QuantizedTensor {
  const checked = checkLayout('quantizedTensor', shape, dtype);
  const source = takeBytes('quantizedTensor', bytes);
  const { length } = source;
  const now = followGrowth(context.allocator, source);
  const tensor = context.emptyQuantized(checked, dtype);
  try {
    if (length !== tensor.bytes) {
      throw new ShapeError(
        `quantizedTensor: bytes must be ${tensor.bytes} for ${dtype} of shape [${checked.shape.join(', ')}], got ${length}`,
      );
    }
    new Uint8Array(context.allocator.memory.buffer, tensor.pointer, tensor.bytes).set(now());
    if (!settle(context.wasm, tensor)) {
      throw new FormatError('quantizedTensor: the scales of all blocks must be finite, got one that is not');
    }
    return tensor;
  } catch (error) {
    tensor.dispose();
    throw error;
  }
}

/**
 * Weights as float32, exactly.
 *
 * @param x  `[rows, k]`
 * @returns `[rows, k]`
 */
export function dequantize(context: Context, { x }: DequantizeArgs): Tensor<'float32'> {
  new Check('dequantize', context).quantized('x', x, ['rows', 'k']);
  const y = context.empty(x.shape);
  const [rows, k] = x.shape;
  context.run('dequantizeForward', [y.pointer, x.pointer, k, layoutNumber(x)], {
    units: rows,
    nanoseconds: x.size * MOVE_NS,
  });
  return y;
}

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  quantize: op(quantize, { x: 'tensor', dtype: 'text' }),
  dequantize: op(dequantize, { x: 'tensor' }),
};
