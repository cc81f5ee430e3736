/** Root mean square norm with a gate, forward and backward; see ../norm. */
import { sigmoidForward, siluForward } from '../activation';
import { finiteBelow, loadTail, madd, nmadd, silu, storeTail, sum } from '../simd';
import {
  BLOCK,
  columnSumBytes,
  fits,
  foldColumnSums,
  laneMasks,
  ones,
  squareSum,
  startColumnSums,
  zeros,
} from './sums';
import { GATE_FIRST, NORM_FIRST, wideRowBackward, wideRowForward } from './wide-rows';

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
      const squares = squareSum(normBeforeGate ? x : y, row);
      if (!fits(squares)) {
        wideRow(y, x, z, w, stride, dim, eps, normBeforeGate);
        continue;
      }
      const r = f32x4.splat(<f32>(1 / sqrt<f64>(<f64>squares / dim + eps)));
      let i: usize = 0;
      for (; i + 16 <= row; i += 16) {
        v128.store(y + i, f32x4.mul(f32x4.mul(v128.load(y + i), r), v128.load(w + i * stride)));
      }
      const rest = <i32>((row - i) >> 2);
      storeTail(y + i, f32x4.mul(f32x4.mul(loadTail(y + i, rest), r), loadTail(w + i * stride, rest)), rest);
    }
  }
}

// prettier-ignore
function wideRow(
  y: usize, x: usize, z: usize, weight: usize, stride: usize,
  dim: i32, eps: f64, normBeforeGate: bool,
): void {
  siluForward(y, z, dim);
  wideRowForward(y, x, y, weight, stride, zeros, 0, <usize>dim << 2, eps, normBeforeGate ? NORM_FIRST : GATE_FIRST);
}

/** y = x silu(z); on its own, it keeps its registers: as a part of the sum's loop it took twice the time. */
function openGate(y: usize, x: usize, z: usize, size: i32): void {
  for (; size > 0; size -= 4, y += 16, x += 16, z += 16) {
    storeTail(y, f32x4.mul(loadTail(x, size), silu(loadTail(z, size))), size);
  }
}

export function gatedRmsNormBackwardScratchBytes(groups: i32, dim: i32): f64 {
  return columnSumBytes(<f64>groups * <f64>dim);
}

/**
 * As rmsNormBackward for what is normalised, v = x silu(z), or v = x with silu(z) part of g = dy w silu(z): g v is
 * dy w x silu(z) in both orders. dz holds sigmoid(z) until the sums of the group are known.
 */
// prettier-ignore
export function gatedRmsNormBackward(
  dx: usize, dz: usize, scratch: usize,
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
      sigmoidForward(dz, z, dim);
      gatedGroupBackward(dx, dz, columnSums + offset, dy, x, z, w, stride, dim, eps, normBeforeGate);
    }
    if (t % BLOCK == 0 || t == rows) foldColumnSums(scratch, columns);
  }
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
    const gated = f32x4.mul(value, f32x4.mul(finiteBelow(v128.load(z + i)), v128.load(dz + i)));
    const normed = v128.bitselect(value, gated, before);
    squares = madd(normed, normed, squares);
    dots = madd(f32x4.mul(v128.load(dy + i), v128.load(w + i * stride)), gated, dots);
  }
  if (rest) {
    const value = loadTail(x + i, rest);
    const gated = f32x4.mul(value, f32x4.mul(finiteBelow(loadTail(z + i, rest)), loadTail(dz + i, rest)));
    const normed = v128.bitselect(value, gated, before);
    squares = madd(normed, normed, squares);
    dots = madd(f32x4.mul(loadTail(dy + i, rest), loadTail(w + i * stride, rest)), gated, dots);
  }
  const square = sum(squares), along = sum(dots);
  if (!(fits(square) && fits(along))) {
    wideRowBackward(dx, dz, sums, 0, dy, x, z, w, stride, end, eps, normBeforeGate ? NORM_FIRST : GATE_FIRST);
    return;
  }
  const scale = 1 / sqrt<f64>(<f64>square / dim + eps);
  const r = f32x4.splat(<f32>scale), pull = f32x4.splat(<f32>(scale * scale * <f64>along / dim));
  const one = v128.load(ones);
  for (i = 0; i < whole; i += 16) {
    const value = v128.load(x + i), gate = finiteBelow(v128.load(z + i)), up = v128.load(dy + i), s = v128.load(dz + i);
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
    const value = loadTail(x + i, rest), gate = finiteBelow(loadTail(z + i, rest)), up = loadTail(dy + i, rest), s = loadTail(dz + i, rest);
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
