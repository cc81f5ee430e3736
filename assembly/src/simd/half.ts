/** 16-bit floats in the low halves of four 32-bit lanes; the high halves are 0. */

/** float16 to float32: exact, infinities and NaN included. */
@inline
export function fromFloat16(x: v128): v128 {
  const magnitude = i32x4.shl(v128.and(x, i32x4.splat(0x7fff)), 13);
  // As the bits of a float32, the magnitude is 2^112 times too small: what is subnormal as float16 comes out right, too.
  const scaled = f32x4.mul(magnitude, f32x4.splat(reinterpret<f32>(0x77800000)));
  const special = v128.and(i32x4.ge_s(magnitude, i32x4.splat(0x0f800000)), i32x4.splat(0x7f800000));
  return v128.or(v128.or(scaled, special), i32x4.shl(v128.and(x, i32x4.splat(0x8000)), 16));
}

/** float32 to float16, rounded to nearest, ties to even. A NaN becomes the quiet NaN of its sign. */
@inline
export function toFloat16(x: v128): v128 {
  const magnitude = v128.and(x, i32x4.splat(0x7fffffff));
  // Adding a power of two leaves 10 digits behind the first one of x, or those that a subnormal float16 has.
  const exponent = v128.and(x, i32x4.splat(0x7f800000));
  const digits = i32x4.add(i32x4.max_s(exponent, i32x4.splat(0x38800000)), i32x4.splat(13 << 23));
  const rounded = f32x4.sub(f32x4.add(magnitude, digits), digits);
  const scaled = f32x4.mul(rounded, f32x4.splat(reinterpret<f32>(0x07800000)));
  let half = i32x4.min_s(i32x4.shr_u(scaled, 13), i32x4.splat(0x7c00));
  half = v128.bitselect(i32x4.splat(0x7c00), half, i32x4.gt_s(exponent, i32x4.splat(0x47000000)));
  half = v128.bitselect(i32x4.splat(0x7e00), half, f32x4.ne(x, x));
  return v128.or(half, i32x4.shl(i32x4.shr_u(x, 31), 15));
}

/** float32 to bfloat16, rounded to nearest, ties to even. A NaN stays one. */
@inline
export function toBfloat16(x: v128): v128 {
  const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
  const rounded = i32x4.shr_u(i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd), 16);
  const nan = v128.or(i32x4.shr_u(x, 16), i32x4.splat(0x40));
  return v128.bitselect(nan, rounded, f32x4.ne(x, x));
}

/**
 * 2^-102 of a wide float16 (see quantization/formats.ts) in the high half of each lane; whatever the low halves hold.
 * Never subnormal, which would take a processor a hundred times as long.
 */
@inline
export function fromWide(x: v128): v128 {
  return v128.and(i32x4.shr_s(x, 3), i32x4.splat(0x8fffe000));
}

/** What makes up for it. */
@inline
export function wideFactor(): f32 {
  return reinterpret<f32>(0x72800000);
}
