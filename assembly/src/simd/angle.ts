/**
 * Angles, their cosines and sines. Polynomials for |r| <= pi / 4, errors below 1e-7.
 */
import { madd } from './madd';

// prettier-ignore
const whole: usize = memory.data<f64>([
  0.15915494309189535,  //  0 1 / (2 pi)
  6.283185307179586,    //  8
  0.6366197723675814,   // 16 2 / pi
  1.5707963267948966,   // 24
  6755399441055744.0,   // 32 1.5 * 2^52: adding it rounds to an integer, which is then in the low bits
], 8);

// prettier-ignore
const constants: usize = memory.data<f32>([
  -1.9515295891e-4,   //  0 (sin r - r) / r^3 in r^2, highest power first
  8.3321608736e-3,    //  4
  -0.16666654611,     //  8
  2.443315711809948e-5, // 12 (cos r - 1 + r^2 / 2) / r^4
  -1.388731625493765e-3, // 16
  4.166664568298827e-2, // 20
  -0.5,               // 24
  1,                  // 28
], 4);

@inline
function constant(offset: usize): v128 {
  return v128.load32_splat(constants + offset);
}

/** Two angles less whole turns: in [-pi, pi]. */
@inline
export function reduced(angle: v128): v128 {
  const turns = f64x2.nearest(f64x2.mul(angle, v128.load64_splat(whole)));
  return f64x2.sub(angle, f64x2.mul(turns, v128.load64_splat(whole, 8)));
}

/** Cosines and sines of four angles, doubles in [-pi, pi]. */
export function cosinesAndSines(cosines: usize, sines: usize, angles: usize): void {
  const low = v128.load(angles);
  const high = v128.load(angles, 16);
  const perQuarter = v128.load64_splat(whole, 16);
  const quarter = v128.load64_splat(whole, 24);
  const magic = v128.load64_splat(whole, 32);
  const lowShifted = f64x2.add(f64x2.mul(low, perQuarter), magic);
  const highShifted = f64x2.add(f64x2.mul(high, perQuarter), magic);
  const lowRest = f64x2.sub(low, f64x2.mul(f64x2.sub(lowShifted, magic), quarter));
  const highRest = f64x2.sub(high, f64x2.mul(f64x2.sub(highShifted, magic), quarter));
  const r = v128.shuffle<f64>(
    f32x4.demote_f64x2_zero(lowRest),
    f32x4.demote_f64x2_zero(highRest),
    0,
    2,
  );
  const quarters = v128.shuffle<i32>(lowShifted, highShifted, 0, 2, 4, 6);
  const square = f32x4.mul(r, r);
  const s = sine(r, square);
  const c = cosine(square);
  const odd = i32x4.shr_s(i32x4.shl(quarters, 31), 31);
  const two = i32x4.splat(2);
  const sineSign = i32x4.shl(v128.and(quarters, two), 30);
  const cosineSign = i32x4.shl(v128.and(i32x4.add(quarters, i32x4.splat(1)), two), 30);
  v128.store(sines, v128.xor(v128.bitselect(c, s, odd), sineSign));
  v128.store(cosines, v128.xor(v128.bitselect(s, c, odd), cosineSign));
}

/** sin r */
@inline
function sine(r: v128, square: v128): v128 {
  const p = madd(madd(constant(0), square, constant(4)), square, constant(8));
  return madd(p, f32x4.mul(square, r), r);
}

/** cos r, of r^2 */
@inline
function cosine(square: v128): v128 {
  const p = madd(madd(constant(12), square, constant(16)), square, constant(20));
  return madd(madd(p, square, constant(24)), square, constant(28));
}
