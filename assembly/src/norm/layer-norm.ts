/** Layer norm, forward and backward; see ../norm. */
import { loadTail, madd, nmadd, storeTail, sum } from '../simd';
import {
  BLOCK,
  columnSumBytes,
  firstLanes,
  fits,
  foldColumnSums,
  ones,
  rowSum,
  startColumnSums,
  zeros,
} from './sums';
import { CENTRED, wideRowBackward, wideRowForward } from './wide-rows';

// prettier-ignore
export function layerNormForward(
  y: usize, x: usize, weight: usize, bias: usize,
  rows: i32, dim: i32, eps: f64,
): void {
  const row = (<usize>dim) << 2;
  const weightStride: usize = weight ? 1 : 0, biasStride: usize = bias ? 1 : 0;
  if (!weight) weight = ones;
  if (!bias) bias = zeros;
  for (; rows > 0; rows--, x += row, y += row) {
    // The first mean only shifts: sums of x - shift are small, so that a large common offset costs no digits.
    const shift = f32x4.splat(<f32>(<f64>rowSum(x, row) / dim));
    let sums0 = v128.load(zeros), sums1 = sums0, squares0 = sums0, squares1 = sums0;
    let i: usize = 0;
    for (; i + 32 <= row; i += 32) {
      const d0 = f32x4.sub(v128.load(x + i), shift), d1 = f32x4.sub(v128.load(x + i, 16), shift);
      sums0 = f32x4.add(sums0, d0);
      sums1 = f32x4.add(sums1, d1);
      squares0 = madd(d0, d0, squares0);
      squares1 = madd(d1, d1, squares1);
    }
    for (; i < row; i += 16) {
      const rest = <i32>((row - i) >> 2);
      const d = f32x4.sub(loadTail(x + i, rest), firstLanes(shift, rest));
      sums0 = f32x4.add(sums0, d);
      squares0 = madd(d, d, squares0);
    }
    const squares = sum(f32x4.add(squares0, squares1));
    if (!fits(squares)) {
      wideRowForward(y, x, 0, weight, weightStride, bias, biasStride, row, eps, CENTRED);
      continue;
    }
    const mean = <f64>sum(f32x4.add(sums0, sums1)) / dim;
    const scale = 1 / sqrt<f64>(max<f64>(<f64>squares / dim - mean * mean, 0) + eps);
    const r = f32x4.splat(<f32>scale), middle = f32x4.splat(<f32>(-mean * scale));
    for (i = 0; i + 16 <= row; i += 16) {
      const normal = madd(f32x4.sub(v128.load(x + i), shift), r, middle);
      v128.store(y + i, madd(normal, v128.load(weight + i * weightStride), v128.load(bias + i * biasStride)));
    }
    const rest = <i32>((row - i) >> 2);
    const normal = madd(f32x4.sub(loadTail(x + i, rest), shift), r, middle);
    const w = loadTail(weight + i * weightStride, rest), b = loadTail(bias + i * biasStride, rest);
    storeTail(y + i, madd(normal, w, b), rest);
  }
}

export function layerNormBackwardScratchBytes(dim: i32): f64 {
  return 2 * columnSumBytes(<f64>dim);
}

/**
 * With n = (x - mean(x)) r and g = dy w: dx = r (g - mean(g) - n mean(g n)), dweight = sum over rows of dy n,
 * dbias = sum over rows of dy.
 */
// prettier-ignore
export function layerNormBackward(
  dx: usize, scratch: usize,
  dy: usize, x: usize, weight: usize,
  rows: i32, dim: i32, eps: f64,
): void {
  const row = (<usize>dim) << 2;
  const stride: usize = weight ? 1 : 0;
  if (!weight) weight = ones;
  const biasScratch = scratch + <usize>columnSumBytes(<f64>dim);
  const weightSums = startColumnSums(scratch, dim), biasSums = startColumnSums(biasScratch, dim);
  for (let t = 1; t <= rows; t++, x += row, dy += row, dx += row) {
    const shift = f32x4.splat(<f32>(<f64>rowSum(x, row) / dim));
    let sums = v128.load(zeros), squares = sums, gradients = sums, dots = sums;
    let i: usize = 0;
    for (; i + 16 <= row; i += 16) {
      const d = f32x4.sub(v128.load(x + i), shift);
      const g = f32x4.mul(v128.load(dy + i), v128.load(weight + i * stride));
      sums = f32x4.add(sums, d);
      squares = madd(d, d, squares);
      gradients = f32x4.add(gradients, g);
      dots = madd(d, g, dots);
    }
    if (i < row) {
      const rest = <i32>((row - i) >> 2);
      const d = f32x4.sub(loadTail(x + i, rest), firstLanes(shift, rest));
      const g = f32x4.mul(loadTail(dy + i, rest), loadTail(weight + i * stride, rest));
      sums = f32x4.add(sums, d);
      squares = madd(d, d, squares);
      gradients = f32x4.add(gradients, g);
      dots = madd(d, g, dots);
    }
    const square = sum(squares), along = sum(dots), total = sum(gradients);
    const ordinary = fits(square) && fits(along) && fits(total);
    if (!ordinary) wideRowBackward(dx, 0, weightSums, biasSums, dy, x, 0, weight, stride, row, eps, CENTRED);
    const mean = <f64>sum(sums) / dim, gradient = <f64>total / dim;
    const scale = 1 / sqrt<f64>(max<f64>(<f64>square / dim - mean * mean, 0) + eps);
    const dot = scale * (<f64>along / dim - mean * gradient); // mean(g n)
    const r = f32x4.splat(<f32>scale), middle = f32x4.splat(<f32>(-mean * scale));
    const pull = f32x4.splat(<f32>dot), push = f32x4.splat(<f32>gradient);
    for (i = ordinary ? 0 : row; i + 16 <= row; i += 16) {
      const up = v128.load(dy + i);
      const normal = madd(f32x4.sub(v128.load(x + i), shift), r, middle);
      const g = f32x4.mul(up, v128.load(weight + i * stride));
      v128.store(dx + i, f32x4.mul(nmadd(normal, pull, f32x4.sub(g, push)), r));
      v128.store(weightSums + i, madd(up, normal, v128.load(weightSums + i)));
      v128.store(biasSums + i, f32x4.add(up, v128.load(biasSums + i)));
    }
    if (i < row) {
      const rest = <i32>((row - i) >> 2);
      const up = loadTail(dy + i, rest);
      const normal = madd(f32x4.sub(loadTail(x + i, rest), shift), r, middle);
      const g = f32x4.mul(up, loadTail(weight + i * stride, rest));
      storeTail(dx + i, f32x4.mul(nmadd(normal, pull, f32x4.sub(g, push)), r), rest);
      v128.store(weightSums + i, madd(up, normal, v128.load(weightSums + i)));
      v128.store(biasSums + i, f32x4.add(up, v128.load(biasSums + i)));
    }
    if (t % BLOCK == 0 || t == rows) {
      foldColumnSums(scratch, dim);
      foldColumnSums(biasScratch, dim);
    }
  }
}
