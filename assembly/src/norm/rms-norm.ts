/** Root mean square norm, forward and backward; see ../norm. */
import { loadTail, madd, nmadd, storeTail, sum } from '../simd';
import { BLOCK, columnSumBytes, fits, foldColumnSums, ones, squareSum, startColumnSums, zeros } from './sums';
import { wideRowBackward, wideRowForward } from './wide-rows';

export function rmsNormForward(y: usize, x: usize, weight: usize, rows: i32, dim: i32, eps: f64): void {
  const row = (<usize>dim) << 2;
  const stride: usize = weight ? 1 : 0; // an absent weight is the same four ones all along
  if (!weight) weight = ones;
  for (; rows > 0; rows--, x += row, y += row) {
    const squares = squareSum(x, row);
    if (!fits(squares)) {
      wideRowForward(y, x, 0, weight, stride, zeros, 0, row, eps, 0);
      continue;
    }
    const r = f32x4.splat(<f32>(1 / sqrt<f64>(<f64>squares / dim + eps)));
    let i: usize = 0;
    for (; i + 16 <= row; i += 16) {
      v128.store(y + i, f32x4.mul(f32x4.mul(v128.load(x + i), r), v128.load(weight + i * stride)));
    }
    const rest = <i32>((row - i) >> 2);
    storeTail(
      y + i,
      f32x4.mul(f32x4.mul(loadTail(x + i, rest), r), loadTail(weight + i * stride, rest)),
      rest,
    );
  }
}

export function rmsNormBackwardScratchBytes(dim: i32): f64 {
  return columnSumBytes(<f64>dim);
}

/** With g = dy w: dx = r (g - x r^2 mean(g x)), dweight = sum over rows of dy x r. */
// prettier-ignore
export function rmsNormBackward(
  dx: usize, scratch: usize,
  dy: usize, x: usize, weight: usize,
  rows: i32, dim: i32, eps: f64,
): void {
  const row = (<usize>dim) << 2;
  const stride: usize = weight ? 1 : 0;
  if (!weight) weight = ones;
  const sums = startColumnSums(scratch, dim);
  for (let t = 1; t <= rows; t++, x += row, dy += row, dx += row) {
    let squares0 = v128.load(zeros), squares1 = squares0, dots0 = squares0, dots1 = squares0;
    let i: usize = 0;
    for (; i + 32 <= row; i += 32) {
      const x0 = v128.load(x + i), x1 = v128.load(x + i, 16);
      const w = weight + i * stride;
      squares0 = madd(x0, x0, squares0);
      squares1 = madd(x1, x1, squares1);
      dots0 = madd(f32x4.mul(v128.load(dy + i), v128.load(w)), x0, dots0);
      dots1 = madd(f32x4.mul(v128.load(dy + i, 16), v128.load(w + 16 * stride)), x1, dots1);
    }
    for (; i < row; i += 16) {
      const rest = <i32>((row - i) >> 2);
      const x0 = loadTail(x + i, rest);
      squares0 = madd(x0, x0, squares0);
      dots0 = madd(f32x4.mul(loadTail(dy + i, rest), loadTail(weight + i * stride, rest)), x0, dots0);
    }
    const squares = sum(f32x4.add(squares0, squares1)), dots = sum(f32x4.add(dots0, dots1));
    const ordinary = fits(squares) && fits(dots);
    if (!ordinary) wideRowBackward(dx, 0, sums, 0, dy, x, 0, weight, stride, row, eps, 0);
    const scale = 1 / sqrt<f64>(<f64>squares / dim + eps);
    const r = f32x4.splat(<f32>scale);
    const pull = f32x4.splat(<f32>(scale * scale * <f64>dots / dim));
    for (i = ordinary ? 0 : row; i + 16 <= row; i += 16) {
      const value = v128.load(x + i), up = v128.load(dy + i);
      const g = f32x4.mul(up, v128.load(weight + i * stride));
      v128.store(dx + i, f32x4.mul(nmadd(value, pull, g), r));
      v128.store(sums + i, madd(up, f32x4.mul(value, r), v128.load(sums + i)));
    }
    if (i < row) {
      const rest = <i32>((row - i) >> 2);
      const value = loadTail(x + i, rest), up = loadTail(dy + i, rest);
      const g = f32x4.mul(up, loadTail(weight + i * stride, rest));
      storeTail(dx + i, f32x4.mul(nmadd(value, pull, g), r), rest);
      v128.store(sums + i, madd(up, f32x4.mul(value, r), v128.load(sums + i)));
    }
    if (t % BLOCK == 0 || t == rows) foldColumnSums(scratch, dim);
  }
}
