/**
 * Normalisation of rows.
 *
 *   rmsNorm       y = x r w                  r = 1 / sqrt(mean(x^2) + eps)              arXiv:1910.07467
 *   layerNorm     y = (x - mean(x)) r w + b  r = 1 / sqrt(mean((x - mean(x))^2) + eps)  arXiv:1607.06450
 *   gatedRmsNorm  y = rmsNorm(x silu(z)), or with normBeforeGate y = rmsNorm(x) silu(z)  arXiv:2405.21060
 *
 *   y, x, z, dx, dy, dz  [rows, dim]; gated: [rows, groups, dim], each group with a mean of its own
 *   weight, bias, dweight, dbias  [dim]; gated: [groups, dim]. Absent (0): weight 1, bias 0, no gradient wanted.
 *
 * dweight and dbias add up many rows: 32 of them in float32, then those sums in float64. `scratch` has room for both:
 * columnSumBytes(columns) for each gradient.
 */
import { loadTail, madd, nmadd, sigmoid, silu, storeTail, sum } from './simd';

const ones: usize = memory.data<f32>([1, 1, 1, 1], 16);
const zeros: usize = memory.data<f32>([0, 0, 0, 0], 16);

/** Rows whose gradients of weight and bias are added up in float32. */
const BLOCK = 32;

export function rmsNormForward(y: usize, x: usize, weight: usize, rows: i32, dim: i32, eps: f64): void {
  const row = (<usize>dim) << 2;
  const stride: usize = weight ? 1 : 0; // an absent weight is the same four ones all along
  if (!weight) weight = ones;
  for (; rows > 0; rows--, x += row, y += row) {
    const r = f32x4.splat(<f32>(1 / sqrt<f64>(<f64>squareSum(x, row) / dim + eps)));
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

/** With g = dy w: dx = r (g - x r^2 mean(g x)), dweight = sum over rows of dy x r. */
// prettier-ignore
export function rmsNormBackward(
  dx: usize, dweight: usize, scratch: usize,
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
    const scale = 1 / sqrt<f64>(<f64>sum(f32x4.add(squares0, squares1)) / dim + eps);
    const r = f32x4.splat(<f32>scale);
    const pull = f32x4.splat(<f32>(scale * scale * <f64>sum(f32x4.add(dots0, dots1)) / dim));
    for (i = 0; i + 16 <= row; i += 16) {
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
  if (dweight) writeColumnSums(dweight, scratch, dim);
}

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
    const mean = <f64>sum(f32x4.add(sums0, sums1)) / dim;
    const scale = 1 / sqrt<f64>(max<f64>(<f64>sum(f32x4.add(squares0, squares1)) / dim - mean * mean, 0) + eps);
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

/**
 * With n = (x - mean(x)) r and g = dy w: dx = r (g - mean(g) - n mean(g n)), dweight = sum over rows of dy n,
 * dbias = sum over rows of dy.
 */
// prettier-ignore
export function layerNormBackward(
  dx: usize, dweight: usize, dbias: usize, scratch: usize,
  dy: usize, x: usize, weight: usize,
  rows: i32, dim: i32, eps: f64,
): void {
  const row = (<usize>dim) << 2;
  const stride: usize = weight ? 1 : 0;
  if (!weight) weight = ones;
  const biasScratch = scratch + columnSumBytes(dim);
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
    const mean = <f64>sum(sums) / dim, gradient = <f64>sum(gradients) / dim;
    const scale = 1 / sqrt<f64>(max<f64>(<f64>sum(squares) / dim - mean * mean, 0) + eps);
    const dot = scale * (<f64>sum(dots) / dim - mean * gradient); // mean(g n)
    const r = f32x4.splat(<f32>scale), middle = f32x4.splat(<f32>(-mean * scale));
    const pull = f32x4.splat(<f32>dot), push = f32x4.splat(<f32>gradient);
    for (i = 0; i + 16 <= row; i += 16) {
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
  if (dweight) writeColumnSums(dweight, scratch, dim);
  if (dbias) writeColumnSums(dbias, biasScratch, dim);
}

/** y holds x silu(z) until the scale of the group is known. */
// prettier-ignore
export function gatedRmsNormForward(
  y: usize, x: usize, z: usize, weight: usize,
  rows: i32, groups: i32, dim: i32, eps: f64, normBeforeGate: bool,
): void {
  const row = (<usize>dim) << 2;
  const stride: usize = weight ? 1 : 0;
  if (!weight) weight = ones;
  for (; rows > 0; rows--) {
    for (let group = 0; group < groups; group++, x += row, z += row, y += row) {
      const w = weight + <usize>group * row * stride;
      openGate(y, x, z, dim);
      const r = f32x4.splat(<f32>(1 / sqrt<f64>(<f64>squareSum(normBeforeGate ? x : y, row) / dim + eps)));
      let i: usize = 0;
      for (; i + 16 <= row; i += 16) {
        v128.store(y + i, f32x4.mul(f32x4.mul(v128.load(y + i), r), v128.load(w + i * stride)));
      }
      const rest = <i32>((row - i) >> 2);
      storeTail(y + i, f32x4.mul(f32x4.mul(loadTail(y + i, rest), r), loadTail(w + i * stride, rest)), rest);
    }
  }
}

/** y = x silu(z); on its own, it keeps its registers: as a part of the sum's loop it took twice the time. */
function openGate(y: usize, x: usize, z: usize, size: i32): void {
  for (; size > 0; size -= 4, y += 16, x += 16, z += 16) {
    storeTail(y, f32x4.mul(loadTail(x, size), silu(loadTail(z, size))), size);
  }
}

/**
 * As rmsNormBackward for what is normalised, v = x silu(z), or v = x with silu(z) part of g = dy w silu(z): g v is
 * dy w x silu(z) in both orders. dz holds sigmoid(z) until the sums of the group are known.
 */
// prettier-ignore
export function gatedRmsNormBackward(
  dx: usize, dz: usize, dweight: usize, scratch: usize,
  dy: usize, x: usize, z: usize, weight: usize,
  rows: i32, groups: i32, dim: i32, eps: f64, normBeforeGate: bool,
): void {
  const row = (<usize>dim) << 2;
  const columns = groups * dim;
  const stride: usize = weight ? 1 : 0;
  if (!weight) weight = ones;
  const columnSums = startColumnSums(scratch, columns);
  for (let t = 1; t <= rows; t++) {
    for (let group = 0; group < groups; group++, x += row, z += row, dy += row, dx += row, dz += row) {
      const offset = <usize>group * row;
      const w = weight + offset * stride;
      sigmoids(dz, z, dim);
      gatedGroupBackward(dx, dz, columnSums + offset, dy, x, z, w, stride, dim, eps, normBeforeGate);
    }
    if (t % BLOCK == 0 || t == rows) foldColumnSums(scratch, columns);
  }
  if (dweight) writeColumnSums(dweight, scratch, columns);
}

function sigmoids(y: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, y += 16, x += 16) storeTail(y, sigmoid(loadTail(x, size)), size);
}

// prettier-ignore
function gatedGroupBackward(
  dx: usize, dz: usize, sums: usize,
  dy: usize, x: usize, z: usize, w: usize, stride: usize,
  dim: i32, eps: f64, normBeforeGate: bool,
): void {
  const end = (<usize>dim) << 2, whole = end & ~15;
  const rest = dim & 3;
  const before = v128.load(laneMasks + (normBeforeGate ? 0 : 16));
  let squares = v128.load(zeros), dots = squares;
  let i: usize = 0;
  for (; i < whole; i += 16) {
    const value = v128.load(x + i);
    const gated = f32x4.mul(value, f32x4.mul(v128.load(z + i), v128.load(dz + i)));
    const normed = v128.bitselect(value, gated, before);
    squares = madd(normed, normed, squares);
    dots = madd(f32x4.mul(v128.load(dy + i), v128.load(w + i * stride)), gated, dots);
  }
  if (rest) {
    const value = loadTail(x + i, rest);
    const gated = f32x4.mul(value, f32x4.mul(loadTail(z + i, rest), loadTail(dz + i, rest)));
    const normed = v128.bitselect(value, gated, before);
    squares = madd(normed, normed, squares);
    dots = madd(f32x4.mul(loadTail(dy + i, rest), loadTail(w + i * stride, rest)), gated, dots);
  }
  const scale = 1 / sqrt<f64>(<f64>sum(squares) / dim + eps);
  const r = f32x4.splat(<f32>scale), pull = f32x4.splat(<f32>(scale * scale * <f64>sum(dots) / dim));
  const one = v128.load(ones);
  for (i = 0; i < whole; i += 16) {
    const value = v128.load(x + i), gate = v128.load(z + i), up = v128.load(dy + i), s = v128.load(dz + i);
    const open = f32x4.mul(gate, s);
    const slope = madd(open, f32x4.sub(one, s), s); // of silu: s + silu(z) (1 - s)
    const gated = f32x4.mul(value, open);
    const g = f32x4.mul(up, v128.load(w + i * stride));
    if (normBeforeGate) {
      v128.store(dx + i, f32x4.mul(nmadd(value, pull, f32x4.mul(g, open)), r));
      v128.store(dz + i, f32x4.mul(f32x4.mul(g, slope), f32x4.mul(value, r)));
    } else {
      const dv = f32x4.mul(nmadd(gated, pull, g), r);
      v128.store(dx + i, f32x4.mul(dv, open));
      v128.store(dz + i, f32x4.mul(f32x4.mul(dv, slope), value));
    }
    v128.store(sums + i, madd(up, f32x4.mul(gated, r), v128.load(sums + i)));
  }
  if (rest) {
    const value = loadTail(x + i, rest), gate = loadTail(z + i, rest), up = loadTail(dy + i, rest), s = loadTail(dz + i, rest);
    const open = f32x4.mul(gate, s);
    const slope = madd(open, f32x4.sub(one, s), s); // of silu: s + silu(z) (1 - s)
    const gated = f32x4.mul(value, open);
    const g = f32x4.mul(up, loadTail(w + i * stride, rest));
    if (normBeforeGate) {
      storeTail(dx + i, f32x4.mul(nmadd(value, pull, f32x4.mul(g, open)), r), rest);
      storeTail(dz + i, f32x4.mul(f32x4.mul(g, slope), f32x4.mul(value, r)), rest);
    } else {
      const dv = f32x4.mul(nmadd(gated, pull, g), r);
      storeTail(dx + i, f32x4.mul(dv, open), rest);
      storeTail(dz + i, f32x4.mul(f32x4.mul(dv, slope), value), rest);
    }
    storeTail(sums + i, madd(up, f32x4.mul(gated, r), loadTail(sums + i, rest)), rest);
  }
}

/** Sum of the floats in `bytes` bytes. */
function rowSum(x: usize, bytes: usize): f32 {
  let a = v128.load(zeros),
    b = a,
    c = a,
    d = a;
  let i: usize = 0;
  for (; i + 64 <= bytes; i += 64) {
    a = f32x4.add(a, v128.load(x + i));
    b = f32x4.add(b, v128.load(x + i, 16));
    c = f32x4.add(c, v128.load(x + i, 32));
    d = f32x4.add(d, v128.load(x + i, 48));
  }
  for (; i < bytes; i += 16) a = f32x4.add(a, loadTail(x + i, <i32>((bytes - i) >> 2)));
  return sum(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
}

/** Sum of their squares. */
function squareSum(x: usize, bytes: usize): f32 {
  let a = v128.load(zeros),
    b = a,
    c = a,
    d = a;
  let i: usize = 0;
  for (; i + 64 <= bytes; i += 64) {
    const x0 = v128.load(x + i),
      x1 = v128.load(x + i, 16),
      x2 = v128.load(x + i, 32),
      x3 = v128.load(x + i, 48);
    a = madd(x0, x0, a);
    b = madd(x1, x1, b);
    c = madd(x2, x2, c);
    d = madd(x3, x3, d);
  }
  for (; i < bytes; i += 16) {
    const x0 = loadTail(x + i, <i32>((bytes - i) >> 2));
    a = madd(x0, x0, a);
  }
  return sum(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
}

const laneMasks: usize = memory.data<i32>([-1, -1, -1, -1, 0, 0, 0, 0], 16);

/** x in the first `count` lanes, 0 in the others. */
function firstLanes(x: v128, count: i32): v128 {
  return v128.and(x, v128.load(laneMasks + ((<usize>(4 - min(count, 4))) << 2)));
}

/** Bytes of the sums of `columns` columns: float64 totals, then float32 sums, both padded to whole vectors. */
export function columnSumBytes(columns: i32): usize {
  return <usize>((columns + 3) & ~3) * 12;
}

/** Clears them. Returns the address of the float32 sums. */
function startColumnSums(scratch: usize, columns: i32): usize {
  memory.fill(scratch, 0, columnSumBytes(columns));
  return scratch + <usize>((columns + 3) & ~3) * 8;
}

/** Adds the float32 sums to the totals, and clears them. */
function foldColumnSums(scratch: usize, columns: i32): void {
  const sums = scratch + <usize>((columns + 3) & ~3) * 8;
  const end = (<usize>columns) << 2;
  const zero = v128.load(zeros);
  for (let i: usize = 0; i < end; i += 16) {
    const s = v128.load(sums + i);
    const total = scratch + (i << 1);
    const high = i8x16.shuffle(s, s, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    v128.store(total, f64x2.add(v128.load(total), f64x2.promote_low_f32x4(s)));
    v128.store(total, f64x2.add(v128.load(total, 16), f64x2.promote_low_f32x4(high)), 16);
    v128.store(sums + i, zero);
  }
}

/** Writes the totals as float32. */
function writeColumnSums(target: usize, scratch: usize, columns: i32): void {
  for (; columns > 0; columns -= 4, target += 16, scratch += 32) {
    const low = f32x4.demote_f64x2_zero(v128.load(scratch));
    const high = f32x4.demote_f64x2_zero(v128.load(scratch, 16));
    storeTail(
      target,
      i8x16.shuffle(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
      columns,
    );
  }
}
