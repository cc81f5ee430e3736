/**
 * Cosines and sines of angles in quarter turns, doubles: what is left after whole quarters is exact, however large the
 * angle is. The polynomials are those of Cephes (Moshier), for |r| <= pi / 4, errors below 1e-7.
 */
import { madd } from './madd';

const QUARTER: f64 = 1.5707963267948966;
const magic: f64 = 6755399441055744; // 1.5 * 2^52: adding it rounds to an integer, which is then in the low bits

// prettier-ignore
const constants: usize = memory.data<f32>([
  -1.9515295891e-4, -1.9515295891e-4, -1.9515295891e-4, -1.9515295891e-4,         //  0 (sin r - r) / r^3 in r^2
  8.3321608736e-3, 8.3321608736e-3, 8.3321608736e-3, 8.3321608736e-3,             // 16
  -0.16666654611, -0.16666654611, -0.16666654611, -0.16666654611,                 // 32
  2.443315711809948e-5, 2.443315711809948e-5, 2.443315711809948e-5, 2.443315711809948e-5, // 48 (cos r - 1 + r^2/2) / r^4
  -1.388731625493765e-3, -1.388731625493765e-3, -1.388731625493765e-3, -1.388731625493765e-3, // 64
  4.166664568298827e-2, 4.166664568298827e-2, 4.166664568298827e-2, 4.166664568298827e-2, // 80
  -0.5, -0.5, -0.5, -0.5,                                                         // 96
  1, 1, 1, 1,                                                                     // 112
  1.57079633, 1.57079633, 1.57079633, 1.57079633,                                 // 128 pi / 2
], 16);

/** Cosines and sines of so many angles, a multiple of 4. */
export function cosinesAndSines(cosines: usize, sines: usize, quarters: usize, count: i32): void {
  const whole = f64x2.splat(magic);
  for (; count > 0; count -= 4, cosines += 16, sines += 16, quarters += 32) {
    const low = v128.load(quarters);
    const high = v128.load(quarters, 16);
    const lowShifted = f64x2.add(low, whole);
    const highShifted = f64x2.add(high, whole);
    const rest = v128.shuffle<f64>(
      f32x4.demote_f64x2_zero(f64x2.sub(low, f64x2.sub(lowShifted, whole))),
      f32x4.demote_f64x2_zero(f64x2.sub(high, f64x2.sub(highShifted, whole))),
      0,
      2,
    );
    const r = f32x4.mul(rest, v128.load(constants, 128));
    const square = f32x4.mul(r, r);
    const s = sine(r, square);
    const c = cosine(square);
    const quarter = v128.shuffle<i32>(lowShifted, highShifted, 0, 2, 4, 6);
    const odd = i32x4.shr_s(i32x4.shl(quarter, 31), 31);
    const sineSign = i32x4.shl(i32x4.shr_u(quarter, 1), 31);
    const cosineSign = v128.xor(sineSign, i32x4.shl(quarter, 31)); // in quarters 1 and 2
    v128.store(sines, v128.xor(v128.bitselect(c, s, odd), sineSign));
    v128.store(cosines, v128.xor(v128.bitselect(s, c, odd), cosineSign));
  }
}

/** An angle in quarter turns less whole turns, in radians: in [-pi, pi]. */
export function toRadians(quarters: f64): f64 {
  return (quarters - 4 * nearest<f64>(quarters * 0.25)) * QUARTER;
}

/** sin r */
@inline
function sine(r: v128, square: v128): v128 {
  const p = madd(madd(v128.load(constants), square, v128.load(constants, 16)), square, v128.load(constants, 32));
  return madd(p, f32x4.mul(square, r), r);
}

/** cos r, of r^2 */
@inline
function cosine(square: v128): v128 {
  const p = madd(madd(v128.load(constants, 48), square, v128.load(constants, 64)), square, v128.load(constants, 80));
  return madd(madd(p, square, v128.load(constants, 96)), square, v128.load(constants, 112));
}
