/**
 * Rows of states, keys and values, padded with zeros to a multiple of 8 floats: what goes into the tiles and comes out.
 */
import { exp, expNegative, loadTail, madd, storeTail, sum } from '../simd';

export const IDENTITY: i32 = 0;
export const RELU: i32 = 1;
export const ELU1: i32 = 2;

const one: usize = memory.data<f32>([1, 1, 1, 1], 16);

/** Size of a padded row. */
export function padded(size: i32): i32 {
  return (size + 7) & ~7;
}

/** Bytes of a padded row, for sizes of scratch memory: integers would wrap beyond 4 GiB. */
export function paddedBytes(size: i32): f64 {
  return ceil<f64>(<f64>size / 8) * 32;
}

/** A pointer moved on; 0, an absent argument, stays 0. */
export function shifted(pointer: usize, offset: usize): usize {
  if (pointer == 0) return 0;
  return pointer + offset;
}

export function zeroRows(target: usize, floats: i32): void {
  memory.fill(target, 0, (<usize>floats) << 2);
}

/** x . y of two padded rows. */
@inline
export function dot(x: usize, y: usize, size: i32): f32 {
  let acc0 = f32x4.splat(0);
  let acc1 = f32x4.splat(0);
  for (const end = x + ((<usize>size) << 2); x < end; x += 32, y += 32) {
    acc0 = madd(v128.load(x), v128.load(y), acc0);
    acc1 = madd(v128.load(x, 16), v128.load(y, 16), acc1);
  }
  return sum(f32x4.add(acc0, acc1));
}

/** out += factor x, padded rows. */
export function addRow(out: usize, x: usize, factor: f32, size: i32): void {
  const f = f32x4.splat(factor);
  for (const end = out + ((<usize>size) << 2); out < end; out += 16, x += 16) {
    v128.store(out, madd(f, v128.load(x), v128.load(out)));
  }
}

/** out[t] = (x[t] . y[t]) lanes[t]: what each step reads of its own update. */
// prettier-ignore
export function ownRows(out: usize, x: usize, y: usize, lanes: usize, steps: i32, splatSize: i32, laneSize: i32): void {
  const splatRow = (<usize>splatSize) << 2;
  const laneRow = (<usize>laneSize) << 2;
  for (let t = 0; t < steps; t++) {
    const own = f32x4.splat(dot(x, y, splatSize));
    for (let i: usize = 0; i < laneRow; i += 16) v128.store(out + i, f32x4.mul(own, v128.load(lanes + i)));
    out += laneRow; lanes += laneRow; x += splatRow; y += splatRow;
  }
}

/**
 * Reads one word of each cache line of rows that lie `stride` bytes apart, to bring them near: a copy that waits for each
 * row alone is bound by latency; at 4096 steps of 8 x 64 channels this took 30 % off. The sum goes to `sink`, or the
 * compiler would drop the loads. `source` may be 0: nothing is read.
 */
export function touch(source: usize, steps: i32, stride: usize, bytes: usize, sink: usize): void {
  if (source == 0) return;
  if (bytes == stride) {
    bytes *= steps; // one run, whose rows may share cache lines
    steps = 1;
  }
  let any: i32 = 0;
  for (; steps > 0; steps--, source += stride) {
    for (let at = source, end = source + bytes; at < end; at += 64) any |= load<i32>(at);
  }
  store<i32>(sink, any);
}

function relu(x: v128): v128 {
  return f32x4.pmax(x, f32x4.splat(0));
}

/** e^x or x + 1; one of the terms is 1 or 0, so the sum is exact. */
@inline
function elu1(x: v128): v128 {
  const zero = f32x4.splat(0);
  return f32x4.add(expNegative(f32x4.pmin(x, zero)), f32x4.pmax(x, zero));
}

function featureSlope(x: v128, map: i32): v128 {
  const unit = v128.load(one);
  if (map == IDENTITY) return unit;
  const zero = f32x4.splat(0);
  const positive = f32x4.gt(x, zero);
  if (map == RELU) return v128.and(unit, positive);
  return v128.bitselect(unit, expNegative(f32x4.pmin(zero, x)), positive);
}

/**
 * Copies rows that lie `stride` bytes apart into padded ones, as factor phi(x). A loop for each map, and one place that
 * calls it, rests included: else every vector costs a call, with `identity` a tenth of the forward pass at 64 x 64.
 */
// prettier-ignore
export function packRows(target: usize, source: usize, steps: i32, stride: usize, size: i32, map: i32, factor: f32): void {
  const row = (<usize>padded(size)) << 2;
  const f = f32x4.splat(factor);
  for (let t = 0; t < steps; t++, target += row, source += stride) {
    v128.store(target + row - 32, f32x4.splat(0));
    v128.store(target + row - 16, f32x4.splat(0));
    let from = source;
    let to = target;
    if (map == IDENTITY) {
      for (let rest = size; rest > 0; rest -= 4, from += 16, to += 16) {
        storeTail(to, f32x4.mul(f, loadTail(from, rest)), rest);
      }
    } else if (map == RELU) {
      for (let rest = size; rest > 0; rest -= 4, from += 16, to += 16) {
        storeTail(to, f32x4.mul(f, relu(loadTail(from, rest))), rest);
      }
    } else {
      for (let rest = size; rest > 0; rest -= 4, from += 16, to += 16) {
        storeTail(to, f32x4.mul(f, elu1(loadTail(from, rest))), rest);
      }
    }
  }
}

/** Copies padded rows to ones that lie `stride` bytes apart, as factor rows[t] phi'(x); `x` is 0 if there is no map. */
// prettier-ignore
export function unpackRows(target: usize, source: usize, x: usize, steps: i32, stride: usize, size: i32, map: i32, factor: f32): void {
  const row = (<usize>padded(size)) << 2;
  const whole = (<usize>(size & ~3)) << 2;
  const rest = size & 3;
  const f = f32x4.splat(factor);
  if (map == IDENTITY) {
    for (let t = 0; t < steps; t++) {
      for (let i: usize = 0; i < whole; i += 16) v128.store(target + i, f32x4.mul(f, v128.load(source + i)));
      if (rest) storeTail(target + whole, f32x4.mul(f, v128.load(source + whole)), rest);
      target += stride; source += row;
    }
    return;
  }
  for (let t = 0; t < steps; t++) {
    for (let i: usize = 0; i < whole; i += 16) {
      const slope = featureSlope(v128.load(x + i), map);
      v128.store(target + i, f32x4.mul(f32x4.mul(f, slope), v128.load(source + i)));
    }
    if (rest) {
      const slope = featureSlope(loadTail(x + whole, rest), map);
      storeTail(target + whole, f32x4.mul(f32x4.mul(f, slope), v128.load(source + whole)), rest);
    }
    target += stride; source += row; x += stride;
  }
}

/** Multiplies row t by factors[t]. */
export function scaleRows(rows: usize, factors: usize, steps: i32, size: i32): void {
  const row = (<usize>size) << 2;
  for (let t = 0; t < steps; t++, factors += 4) {
    const f = v128.load32_splat(factors);
    for (const end = rows + row; rows < end; rows += 16) v128.store(rows, f32x4.mul(f, v128.load(rows)));
  }
}

/** Fills padded rows with e^x of one x a row. */
export function packDecay(target: usize, decay: usize, steps: i32, stride: usize, size: i32): void {
  const row = (<usize>padded(size)) << 2;
  for (let t = 0; t < steps; t++, decay += stride) {
    const factor = exp(v128.load32_splat(decay));
    for (const end = target + row; target < end; target += 16) v128.store(target, factor);
  }
}

/** Copies rows that lie `stride` bytes apart into padded ones, as e^x. */
export function packGate(target: usize, gate: usize, steps: i32, stride: usize, size: i32): void {
  const row = (<usize>padded(size)) << 2;
  const whole = (<usize>(size & ~3)) << 2;
  const rest = size & 3;
  for (let t = 0; t < steps; t++, target += row, gate += stride) {
    v128.store(target + row - 32, f32x4.splat(0));
    v128.store(target + row - 16, f32x4.splat(0));
    for (let i: usize = 0; i < whole; i += 16) v128.store(target + i, exp(v128.load(gate + i)));
    if (rest) storeTail(target + whole, exp(loadTail(gate + whole, rest)), rest);
  }
}

/** A state [dKey, dValue], or some of its columns, rows `stride` bytes apart, as padded rows; zeros if `source` is 0. */
export function packState(target: usize, source: usize, stride: usize, dKey: i32, dValue: i32): void {
  const row = padded(dValue);
  zeroRows(target, padded(dKey) * row);
  if (source == 0) return;
  for (let i = 0; i < dKey; i++) {
    memory.copy(target, source, (<usize>dValue) << 2);
    target += (<usize>row) << 2;
    source += stride;
  }
}

/** A state [dKey, dValue], rows `stride` bytes apart, as padded rows of its transpose; zeros if `source` is 0. */
export function packTransposed(target: usize, source: usize, stride: usize, dKey: i32, dValue: i32): void {
  const row = padded(dKey);
  zeroRows(target, padded(dValue) * row);
  if (source == 0) return;
  for (let i = 0; i < dKey; i++, source += stride) {
    for (let j = 0; j < dValue; j++) {
      store<f32>(target + ((<usize>(j * row + i)) << 2), load<f32>(source + (<usize>j << 2)));
    }
  }
}

/** Padded rows back to a state [dKey, dValue], or some of its columns. */
export function unpackState(target: usize, stride: usize, source: usize, dKey: i32, dValue: i32): void {
  for (let i = 0; i < dKey; i++) {
    memory.copy(target, source, (<usize>dValue) << 2);
    target += stride;
    source += (<usize>padded(dValue)) << 2;
  }
}
