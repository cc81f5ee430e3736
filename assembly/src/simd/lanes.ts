/** Sum of the four lanes: (0 + 2) + (1 + 3). */
@inline
export function sum(x: v128): f32 {
  const pairs = f32x4.add(x, i8x16.shuffle(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}

/** Largest of the four lanes; NaN lanes lose. */
@inline
export function largest(x: v128): f32 {
  const pairs = f32x4.pmax(x, i8x16.shuffle(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  const a = f32x4.extract_lane(pairs, 0);
  const b = f32x4.extract_lane(pairs, 1);
  return a < b ? b : a;
}

/** The first `count` (0..4) floats at `source`, zeros in the other lanes; reads nothing beyond them. */
@inline
export function loadTail(source: usize, count: i32): v128 {
  let x = f32x4.splat(0);
  if (count >= 4) return v128.load(source);
  if (count & 2) {
    x = v128.load64_zero(source);
    if (count & 1) x = v128.load_lane<f32>(source, x, 2, 8);
  } else if (count & 1) {
    x = v128.load32_zero(source);
  }
  return x;
}

/** Writes the first `count` (0..4) lanes of x, and nothing beyond them. */
@inline
export function storeTail(target: usize, x: v128, count: i32): void {
  if (count >= 4) {
    v128.store(target, x);
    return;
  }
  if (count & 2) {
    v128.store_lane<f64>(target, x, 0);
    if (count & 1) v128.store_lane<f32>(target, x, 2, 8);
  } else if (count & 1) {
    v128.store_lane<f32>(target, x, 0);
  }
}

/** The lanes of a, b, c, d as rows `stride` bytes apart: (a0 b0 c0 d0), (a1 b1 c1 d1) and so on. */
@inline
export function storeTransposed(target: usize, stride: usize, a: v128, b: v128, c: v128, d: v128): void {
  const low01 = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
  const low23 = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
  v128.store(target, v128.shuffle<f64>(low01, low23, 0, 2));
  v128.store(target + stride, v128.shuffle<f64>(low01, low23, 1, 3));
  const high01 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
  const high23 = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
  v128.store(target + 2 * stride, v128.shuffle<f64>(high01, high23, 0, 2));
  v128.store(target + 3 * stride, v128.shuffle<f64>(high01, high23, 1, 3));
}
