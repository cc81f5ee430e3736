/**
 * Matrix product, for each matrix of a batch:
 *
 *   y = op(a) op(b) + bias,  op(x) = x or its transpose
 *
 *   y  [m, n]      a  [m, k], transposed [k, m]      b  [k, n], transposed [n, k]      bias  [n]
 *
 * The method is that of Goto & van de Geijn 2008 (doi:10.1145/1356052.1356053): blocks.ts. A few rows (decoding) go
 * past it: few-rows.ts.
 *
 * The caller gives scratch memory of matmulForwardScratchBytes(m, n, k).
 */
import { blockScratchBytes, multiplyBlocks } from './matmul/blocks';
import { addVectorProducts } from './matmul/few-rows';
import { loadTail, storeTail } from './simd';

// Exported so that it is not inlined: see there.
export { addFourDots } from './matmul/few-rows';

const FEW_ROWS: i32 = 4;

/** Bytes of scratch memory that a product of these sizes needs. */
export function matmulForwardScratchBytes(m: i32, n: i32, k: i32): f64 {
  return blockScratchBytes(m, n, k);
}

/**
 * The strides are floats from one matrix of the batch to the next; 0 for a or b: the same for all, 0 for y: the sum
 * over the batch. bias may be 0.
 */
// prettier-ignore
export function matmulForward(
  y: usize, a: usize, b: usize, bias: usize,
  batch: i32, m: i32, n: i32, k: i32, strideY: i32, strideA: i32, strideB: i32,
  transposeA: bool, transposeB: bool, scratch: usize,
): void {
  const rowY = <usize>n << 2;
  const rowA: usize = transposeA ? 4 : <usize>k << 2;
  const columnA: usize = transposeA ? <usize>m << 2 : 4;
  const rowB: usize = transposeB ? 4 : <usize>n << 2;
  const columnB: usize = transposeB ? <usize>k << 2 : 4;
  for (let i = 0; i < batch; i++) {
    const add = i > 0 && strideY == 0;
    if (n == 1) {
      if (!add) fillRows(y, bias, m, n);
      addVectorProducts(y, b, a, 1, m, k, !transposeA, scratch); // y^T = b^T a^T
    } else if (m <= FEW_ROWS && (m == 1 || !transposeA)) {
      if (!add) fillRows(y, bias, m, n);
      addVectorProducts(y, a, b, m, n, k, transposeB, scratch);
    } else {
      multiplyBlocks(y, rowY, a, rowA, columnA, b, rowB, columnB, bias, m, n, k, add, scratch);
    }
    y += <usize>strideY << 2;
    a += <usize>strideA << 2;
    b += <usize>strideB << 2;
  }
}

/** dbias[j] = sum over rows of dy[row, j]. */
export function columnSums(dbias: usize, dy: usize, rows: i32, n: i32): void {
  const row = (<usize>n) << 2;
  fillRows(dbias, 0, 1, n);
  for (let first = 0; first < rows; first += 64) {
    const count = min(rows - first, 64);
    let j = 0;
    for (; j + 16 <= n; j += 16) {
      let s0 = f32x4.splat(0);
      let s1 = f32x4.splat(0);
      let s2 = f32x4.splat(0);
      let s3 = f32x4.splat(0);
      let at = dy + ((<usize>j) << 2);
      for (let i = 0; i < count; i++, at += row) {
        s0 = f32x4.add(s0, v128.load(at));
        s1 = f32x4.add(s1, v128.load(at, 16));
        s2 = f32x4.add(s2, v128.load(at, 32));
        s3 = f32x4.add(s3, v128.load(at, 48));
      }
      const to = dbias + ((<usize>j) << 2);
      v128.store(to, f32x4.add(v128.load(to), s0));
      v128.store(to, f32x4.add(v128.load(to, 16), s1), 16);
      v128.store(to, f32x4.add(v128.load(to, 32), s2), 32);
      v128.store(to, f32x4.add(v128.load(to, 48), s3), 48);
    }
    for (; j < n; j += 4) {
      let s = f32x4.splat(0);
      let at = dy + ((<usize>j) << 2);
      for (let i = 0; i < count; i++, at += row) s = f32x4.add(s, loadTail(at, n - j));
      const to = dbias + ((<usize>j) << 2);
      storeTail(to, f32x4.add(loadTail(to, n - j), s), n - j);
    }
    dy += row * 64;
  }
}

/** Each of `rows` rows of y becomes bias, or 0 without one. */
function fillRows(y: usize, bias: usize, rows: i32, n: i32): void {
  const row = (<usize>n) << 2;
  if (bias) for (let i = 0; i < rows; i++, y += row) memory.copy(y, bias, row);
  else memory.fill(y, 0, row * rows);
}
