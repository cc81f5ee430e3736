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
import { addVectorProducts, vectorUnits } from './matmul/few-rows';
import { COLUMNS, ROWS } from './matrix/tile';
import { loadTail, storeTail } from './simd';

// Exported so that it is not inlined: see there.
export { addFourDots } from './matmul/few-rows';

const FEW_ROWS: i32 = 4;

/** Bytes of scratch memory that a product of these sizes needs. */
export function matmulForwardScratchBytes(m: i32, n: i32, k: i32): f64 {
  return blockScratchBytes(m, n, k);
}

/** Whether a product reads b as it lies: few rows, or y as a column, which is y^T = b^T a^T with one row. */
function isVector(m: i32, n: i32, transposeA: bool): bool {
  return n == 1 || (m <= FEW_ROWS && (m == 1 || !transposeA));
}

/** Pieces of one matrix of y that can be computed alone: tiles along its longer side, or columns. */
function unitsOfOne(m: i32, n: i32, transposeA: bool, transposeB: bool): i32 {
  if (n == 1) return vectorUnits(m, !transposeA);
  if (isVector(m, n, transposeA)) return vectorUnits(n, transposeB);
  return m >= n ? (m + ROWS - 1) / ROWS : (n + COLUMNS - 1) / COLUMNS;
}

/** How many units of y there are for matmulForward to be called with. */
// prettier-ignore
export function matmulForwardUnits(
  batch: i32, m: i32, n: i32, strideY: i32, transposeA: bool, transposeB: bool,
): i32 {
  return unitsOfOne(m, n, transposeA, transposeB) * (strideY == 0 ? 1 : batch);
}

/**
 * The strides are floats from one matrix of the batch to the next; 0 for a or b: the same for all, 0 for y: the sum
 * over the batch. bias may be 0.
 */
// prettier-ignore
export function matmulForward(
  y: usize, a: usize, b: usize, bias: usize,
  batch: i32, m: i32, n: i32, k: i32, strideY: i32, strideA: i32, strideB: i32,
  transposeA: bool, transposeB: bool, scratch: usize, first: i32, count: i32,
): void {
  const units = unitsOfOne(m, n, transposeA, transposeB);
  if (strideY == 0) {
    for (let i = 0; i < batch; i++) {
      multiply(y, a, b, bias, m, n, k, transposeA, transposeB, i > 0, scratch, first, count);
      a += <usize>strideA << 2;
      b += <usize>strideB << 2;
    }
    return;
  }
  const matrix = first / units;
  y += <usize>(matrix * strideY) << 2;
  a += <usize>(matrix * strideA) << 2;
  b += <usize>(matrix * strideB) << 2;
  for (let from = first - matrix * units; count > 0; from = 0) {
    const here = min(count, units - from);
    multiply(y, a, b, bias, m, n, k, transposeA, transposeB, false, scratch, from, here);
    count -= here;
    y += <usize>strideY << 2;
    a += <usize>strideA << 2;
    b += <usize>strideB << 2;
  }
}

/** Some units of one product, or of y += it if `add`. */
// prettier-ignore
function multiply(
  y: usize, a: usize, b: usize, bias: usize, m: i32, n: i32, k: i32,
  transposeA: bool, transposeB: bool, add: bool, scratch: usize, first: i32, count: i32,
): void {
  if (n == 1) {
    addVectorProducts(y, b, a, bias, 1, m, k, !transposeA, !add, true, scratch, first, count);
    return;
  }
  if (isVector(m, n, transposeA)) {
    addVectorProducts(y, a, b, bias, m, n, k, transposeB, !add, false, scratch, first, count);
    return;
  }
  const rowY = <usize>n << 2;
  const rowA: usize = transposeA ? 4 : <usize>k << 2;
  const columnA: usize = transposeA ? <usize>m << 2 : 4;
  const rowB: usize = transposeB ? 4 : <usize>n << 2;
  const columnB: usize = transposeB ? <usize>k << 2 : 4;
  if (m >= n) {
    const from = first * ROWS;
    y += <usize>from * rowY;
    a += <usize>from * rowA;
    m = min(m - from, count * ROWS);
  } else {
    const from = first * COLUMNS;
    y += <usize>from << 2;
    b += <usize>from * columnB;
    if (bias) bias += <usize>from << 2;
    n = min(n - from, count * COLUMNS);
  }
  multiplyBlocks(y, rowY, a, rowA, columnA, b, rowB, columnB, bias, m, n, k, add, 0, scratch);
}

const SUM_COLUMNS: i32 = 16; // a cache line

/** dbias[j] = sum over rows of dy[row, j], for columns 16 first <= j < 16 (first + count). */
export function columnSums(dbias: usize, dy: usize, rows: i32, n: i32, first: i32, count: i32): void {
  const row = (<usize>n) << 2;
  const from = first * SUM_COLUMNS;
  dbias += (<usize>from) << 2;
  dy += (<usize>from) << 2;
  n = min(n - from, count * SUM_COLUMNS);
  memory.fill(dbias, 0, (<usize>n) << 2);
  for (let done = 0; done < rows; done += 64) {
    const steps = min(rows - done, 64);
    let j = 0;
    for (; j + 16 <= n; j += 16) {
      let s0 = f32x4.splat(0);
      let s1 = f32x4.splat(0);
      let s2 = f32x4.splat(0);
      let s3 = f32x4.splat(0);
      let at = dy + ((<usize>j) << 2);
      for (let i = 0; i < steps; i++, at += row) {
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
      for (let i = 0; i < steps; i++, at += row) s = f32x4.add(s, loadTail(at, n - j));
      const to = dbias + ((<usize>j) << 2);
      storeTail(to, f32x4.add(loadTail(to, n - j), s), n - j);
    }
    dy += row * 64;
  }
}
