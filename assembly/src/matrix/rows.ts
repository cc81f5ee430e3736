/** Rows of floats, and sizes rounded up to whole tiles. */
import { loadTail, madd, storeTail, sum } from '../simd';

export function roundUp(size: i32, unit: i32): i32 {
  return ((size + unit - 1) / unit) * unit;
}

/** The same as f64, which holds what goes past 2^31. */
export function roundUpLarge(size: f64, unit: i32): f64 {
  return ceil<f64>(size / <f64>unit) * <f64>unit;
}

/** The dot product of two rows of any size. */
export function dot(a: usize, b: usize, size: i32): f32 {
  let acc = f32x4.splat(0);
  for (; size > 0; size -= 4, a += 16, b += 16) acc = madd(loadTail(a, size), loadTail(b, size), acc);
  return sum(acc);
}

/** The dot product of two rows of a multiple of 4 floats. */
export function dotPadded(a: usize, b: usize, size: i32): f32 {
  let acc0 = f32x4.splat(0);
  let acc1 = acc0;
  const end = a + ((<usize>size) << 2);
  for (; a + 32 <= end; a += 32, b += 32) {
    acc0 = madd(v128.load(a), v128.load(b), acc0);
    acc1 = madd(v128.load(a, 16), v128.load(b, 16), acc1);
  }
  if (a < end) acc0 = madd(v128.load(a), v128.load(b), acc0);
  return sum(f32x4.add(acc0, acc1));
}

/** y += factor x, the factor being one float in memory. */
export function addScaledRow(y: usize, factor: usize, x: usize, size: i32): void {
  const f = v128.load32_splat(factor);
  for (; size > 0; size -= 4, y += 16, x += 16)
    storeTail(y, madd(f, loadTail(x, size), loadTail(y, size)), size);
}

/** Copies a row of any size: without the call that memory.copy is. */
export function copyRow(out: usize, row: usize, size: i32): void {
  for (; size >= 4; size -= 4, out += 16, row += 16) v128.store(out, v128.load(row));
  storeTail(out, loadTail(row, size), size);
}

/** y += x on rows of a multiple of 4 floats. */
export function addRow(y: usize, x: usize, size: i32): void {
  for (const end = y + ((<usize>size) << 2); y < end; y += 16, x += 16) {
    v128.store(y, f32x4.add(v128.load(y), v128.load(x)));
  }
}

/** Whether none of so many floats is NaN or infinite: whether the product of each with 0 is 0. */
export function areFinite(at: usize, count: usize): bool {
  let most = i32x4.splat(0);
  const end = at + ((count & ~3) << 2);
  // Without its sign, a float has the order of an integer; from infinity on it is not finite.
  for (; at < end; at += 16) most = i32x4.max_u(most, i32x4.shl(v128.load(at), 1));
  most = i32x4.max_u(most, i32x4.shl(loadTail(at, (<i32>count) & 3), 1));
  return !v128.any_true(i32x4.ge_u(most, i32x4.splat(0xff000000)));
}

/** Four doubles as floats. */
export function narrowed(low: v128, high: v128): v128 {
  return v128.shuffle<f64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
}
