/**
 * Weights that take less room than float32: read by products with a transposed right factor and by look-ups of rows.
 *
 *   float16, bfloat16   little-endian
 *   int8                blocks of 32 along a row, which share a float16 scale d: w = d q           (llama.cpp's Q8_0)
 *   int4                the same with 4 bits a weight: w = d (q - 8), q from 0 to 15                 (llama.cpp's Q4_0)
 *
 *   y  [m, n]      a  [m, k]      b  [n, k], quantised      bias  [n]
 */
import { BLOCK_DEPTH, blockScratchBytes, multiplyBlocks } from './matmul/blocks';
import { COLUMNS } from './matrix/tile';
import { areFew, fewRowsScratchBytes, multiplyFewRows, prepare, SUMS } from './quantization/few-rows';
import { rowBytes } from './quantization/formats';
import { packRow } from './quantization/quantize';
import { unpackRows } from './quantization/unpack';

export { areFiniteHalves, widen } from './quantization/formats';

/** y, quantised: of x, [rows, k], the rows first <= i < first + count. */
export function quantizeForward(y: usize, x: usize, k: i32, dtype: i32, first: i32, count: i32): void {
  const row = rowBytes(dtype, k);
  y += row * first;
  x += ((<usize>k) << 2) * first;
  for (; count > 0; count--, y += row, x += (<usize>k) << 2) packRow(y, x, dtype, k);
}

/** y, [rows, k]: of x, quantised, the rows first <= i < first + count. */
export function dequantizeForward(y: usize, x: usize, k: i32, dtype: i32, first: i32, count: i32): void {
  unpackRows(y + ((<usize>k) << 2) * first, x + rowBytes(dtype, k) * first, dtype, k, 0, k, count);
}

/** y[i] = weight[ids[i]], for first <= i < first + count. */
// prettier-ignore
export function quantizedEmbeddingForward(
  y: usize, ids: usize, weight: usize, dModel: i32, dtype: i32, first: i32, count: i32,
): void {
  const row = rowBytes(dtype, dModel);
  for (let i = first; i < first + count; i++) {
    const id = <usize>load<i32>(ids + (<usize>i << 2));
    unpackRows(y + (<usize>dModel << 2) * i, weight + id * row, dtype, dModel, 0, dModel, 1);
  }
}

export function quantizedMatmulForwardScratchBytes(m: i32, n: i32, k: i32): f64 {
  const blocks = blockScratchBytes(m, n, k) + <f64>(COLUMNS << 2) * <f64>min(k, BLOCK_DEPTH);
  return max(blocks, fewRowsScratchBytes(m, k));
}

/** Runs of columns of y that can be computed alone. */
export function quantizedMatmulForwardUnits(n: i32): i32 {
  return (n + COLUMNS - 1) / COLUMNS;
}

/** y = a b^T + bias; bias may be 0. */
// prettier-ignore
export function quantizedMatmulForward(
  y: usize, a: usize, b: usize, bias: usize, m: i32, n: i32, k: i32, dtype: i32,
  scratch: usize, first: i32, count: i32,
): void {
  const from = first * COLUMNS;
  const rowY = <usize>n << 2;
  y += <usize>from << 2;
  b += rowBytes(dtype, k) * from;
  if (bias) bias += <usize>from << 2;
  n = min(n - from, count * COLUMNS);
  if (areFew(m, dtype) && prepare(scratch + SUMS, a, m, k, dtype)) {
    multiplyFewRows(y, rowY, scratch + SUMS, b, bias, m, n, k, dtype, scratch);
  } else {
    multiplyBlocks(y, rowY, a, <usize>k << 2, 4, b, 4, 0, bias, m, n, k, false, dtype, scratch);
  }
}
