import { madd, nmadd } from './madd';

/** The coefficients are least-maximum fits made for this file: of (e^r - 1 - r) / r^2 in r, |r| <= ln(2)/2. */
// prettier-ignore
const constants: usize = memory.data<f32>([
  1,              //  0
  2,              //  4
  20,             //  8 e^20 + 2 = e^20 in float32
  1.44269504,     // 12 log2(e)
  12582912.0,     // 16 1.5 * 2^23: adding it rounds to an integer
  0.693359375,    // 20 ln(2), its first bits
  -2.12194440e-4, // 24 and the rest
  1.39262131e-3,  // 28 the polynomial of e^r, highest power first
  8.36320315e-3,  // 32
  4.16665561e-2,  // 36
  0.166665763,    // 40
  0.5,            // 44
], 4);

@inline
function constant(offset: usize): v128 {
  return v128.load32_splat(constants + offset);
}

/** w / (w + 2), w = e^(2 |x|) - 1, with the sign of x: near 0, where w = 2 |x|, no digit is lost. */
export function tanh(x: v128): v128 {
  const t = f32x4.abs(x);
  const w = expMinus1(f32x4.pmin(f32x4.add(t, t), constant(8)));
  const sign = v128.xor(x, t);
  return v128.or(f32x4.div(w, f32x4.add(w, constant(4))), sign);
}

/** e^x - 1 for 0 <= x <= 20, as 2^n (e^r - 1) + (2^n - 1). */
function expMinus1(x: v128): v128 {
  const magic = constant(16);
  const shifted = madd(x, constant(12), magic);
  const n = f32x4.sub(shifted, magic);
  const r = nmadd(n, constant(24), nmadd(n, constant(20), x));
  let p = madd(constant(28), r, constant(32));
  p = madd(p, r, constant(36));
  p = madd(p, r, constant(40));
  p = madd(p, r, constant(44));
  p = madd(p, f32x4.mul(r, r), r);
  const one = constant(0);
  const power = i32x4.add(one, i32x4.shl(shifted, 23)); // n into the exponent bits of 1
  return madd(p, power, f32x4.sub(power, one));
}
