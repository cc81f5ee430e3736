/**
 * Exponential helpers on four lanes. Coefficients lie in static memory: V8 rebuilds a v128.const in every round
 * of a loop, which doubles the time of an exp (3.2 -> 6.9 ns per four lanes).
 *
 * Coefficients are Chebyshev interpolations made for this file: of (e^r - 1 - r) / r^2 over |r| <= ln(2)/2, and of
 * atanh(s)/s in s^2 over s <= 1/3.
 */
import { madd, nmadd } from './madd';

// prettier-ignore
const constants: usize = memory.data<f32>([
  1.44269504, 1.44269504, 1.44269504, 1.44269504,             //   0 log2(e)
  12582912.0, 12582912.0, 12582912.0, 12582912.0,             //  16 1.5 * 2^23: adding it rounds to an integer
  0.693359375, 0.693359375, 0.693359375, 0.693359375,         //  32 ln(2), its first bits
  -2.12194440e-4, -2.12194440e-4, -2.12194440e-4, -2.12194440e-4, // 48 and the rest
  1.3926176e-3, 1.3926176e-3, 1.3926176e-3, 1.3926176e-3,     //  64 the polynomial of exp, highest power first
  8.3631731e-3, 8.3631731e-3, 8.3631731e-3, 8.3631731e-3,     //  80
  4.16665547e-2, 4.16665547e-2, 4.16665547e-2, 4.16665547e-2, //  96
  1.6666577e-1, 1.6666577e-1, 1.6666577e-1, 1.6666577e-1,     // 112
  0.5, 0.5, 0.5, 0.5,                                         // 128
  1.0, 1.0, 1.0, 1.0,                                         // 144
  -87.33654, -87.33654, -87.33654, -87.33654,                 // 160 below: exp underflows
  88.72283, 88.72283, 88.72283, 88.72283,                     // 176 above: exp overflows
  2.0, 2.0, 2.0, 2.0,                                         // 192
  0.14078879, 0.14078879, 0.14078879, 0.14078879,             // 208 the polynomial of atanh(s)/s
  0.13982579, 0.13982579, 0.13982579, 0.13982579,             // 224
  0.20012298, 0.20012298, 0.20012298, 0.20012298,             // 240
  0.33333161, 0.33333161, 0.33333161, 0.33333161,             // 256
], 16);
const infinities: usize = memory.data<u32>([0x7f800000, 0x7f800000, 0x7f800000, 0x7f800000], 16);
const largest: usize = memory.data<f32>([3.4028234663852886e38, 3.4028234663852886e38, 3.4028234663852886e38, 3.4028234663852886e38], 16);
const lowest: usize = memory.data<f32>([-3.4028234663852886e38, -3.4028234663852886e38, -3.4028234663852886e38, -3.4028234663852886e38], 16);
const signs: usize = memory.data<u32>([0x80000000, 0x80000000, 0x80000000, 0x80000000], 16);

/** e^x for finite x within the normal range of the result; the common part of the functions below. */
@inline
function expNormal(x: v128): v128 {
  const magic = v128.load(constants, 16);
  const shifted = madd(x, v128.load(constants), magic);
  const n = f32x4.sub(shifted, magic);
  const r = nmadd(n, v128.load(constants, 48), nmadd(n, v128.load(constants, 32), x));
  const rr = f32x4.mul(r, r);
  const low = madd(v128.load(constants, 112), r, v128.load(constants, 128));
  let q = madd(v128.load(constants, 80), r, v128.load(constants, 96));
  q = madd(v128.load(constants, 64), rr, q);
  q = madd(q, rr, low);
  const p = f32x4.add(madd(q, rr, r), v128.load(constants, 144));
  // p is in [0.7, 1.5): adding n to its exponent bits is exact, also where 2^n alone would overflow.
  return i32x4.add(p, i32x4.shl(shifted, 23));
}

/** e^x, at most 2 ulp off; 0 below the normal range and at -inf, inf above it, NaN for NaN. */
@inline
export function exp(x: v128): v128 {
  const y = v128.andnot(expNormal(x), f32x4.lt(x, v128.load(constants, 160)));
  return v128.bitselect(y, f32x4.add(x, v128.load(infinities)), f32x4.le(x, v128.load(constants, 176)));
}

/** e^x for x <= 0 or so small that e^x is finite; saves the checks for overflow. NaN gives garbage. */
@inline
export function expNegative(x: v128): v128 {
  return v128.andnot(expNormal(x), f32x4.lt(x, v128.load(constants, 160)));
}

/** ln(1 + y) for 0 <= y <= 1, as 2 atanh(y / (2 + y)). */
@inline
export function log1pUnit(y: v128): v128 {
  const s = f32x4.div(y, f32x4.add(v128.load(constants, 192), y));
  const w = f32x4.mul(s, s);
  const high = madd(v128.load(constants, 208), w, v128.load(constants, 224));
  const low = madd(v128.load(constants, 240), w, v128.load(constants, 256));
  const p = madd(high, f32x4.mul(w, w), low);
  const twice = f32x4.add(s, s);
  return madd(f32x4.mul(p, w), twice, twice);
}

/** ln(1 + e^x) without overflow: max(x, 0) + ln(1 + e^-|x|). */
@inline
export function softplus(x: v128): v128 {
  const negative = v128.or(x, v128.load(signs)); // -|x|
  return f32x4.add(f32x4.pmax(x, f32x4.splat(0)), log1pUnit(expNegative(negative)));
}

/** 1 / (1 + e^-x). */
@inline
export function sigmoid(x: v128): v128 {
  const one = v128.load(constants, 144);
  return f32x4.div(one, f32x4.add(one, exp(f32x4.neg(x))));
}

/** x, or the largest finite number where x is inf: times 0, that is 0. */
@inline
export function finite(x: v128): v128 {
  return f32x4.pmin(x, v128.load(largest));
}

/** x, or the lowest finite number where x is -inf: over infinity, or times 0, that is 0. */
@inline
export function finiteBelow(x: v128): v128 {
  return f32x4.pmax(x, v128.load(lowest));
}

/** x sigmoid(x). */
@inline
export function silu(x: v128): v128 {
  const one = v128.load(constants, 144);
  return f32x4.div(finiteBelow(x), f32x4.add(one, exp(f32x4.neg(x))));
}

/** The derivative of silu, s (1 + x (1 - s)) with s = sigmoid(x). */
@inline
export function siluSlope(x: v128): v128 {
  const one = v128.load(constants, 144);
  const s = sigmoid(x);
  return f32x4.mul(s, madd(finite(finiteBelow(x)), f32x4.sub(one, s), one));
}

/**
 * Constants of exp2, each on four lanes. The hot loop that calls exp2 loads them into locals first: V8 does not move
 * a load out of a loop that stores.
 */
// prettier-ignore
export const exp2Constants: usize = memory.data<f32>([
  12582912.0, 12582912.0, 12582912.0, 12582912.0,                 //  0 1.5 * 2^23: adding it rounds to an integer
  1.32647e-3, 1.32647e-3, 1.32647e-3, 1.32647e-3,                 // 16 the polynomial, highest power first
  9.67151e-3, 9.67151e-3, 9.67151e-3, 9.67151e-3,                 // 32
  5.550734e-2, 5.550734e-2, 5.550734e-2, 5.550734e-2,             // 48
  0.24022242, 0.24022242, 0.24022242, 0.24022242,                 // 64
  0.69314698, 0.69314698, 0.69314698, 0.69314698,                 // 80
  1.0, 1.0, 1.0, 1.0,                                             // 96
  -127.0, -127.0, -127.0, -127.0,                                 // 112 2^x comes out as exactly 0 here
  128.0, 128.0, 128.0, 128.0,                                     // 128 and as exactly inf here
], 16);

/**
 * 2^x for -127 <= x <= 128, the caller's to ensure: 0 at the lower end, inf at the upper, 1 at 0, all exactly;
 * relative error below 2e-7 for x >= -126. The polynomial is a minimax fit of 2^f over |f| <= 1/2 with p(0) = 1.
 */
// prettier-ignore
@inline
export function exp2(
  x: v128, magic: v128, c5: v128, c4: v128, c3: v128, c2: v128, c1: v128, one: v128,
): v128 {
  const shifted = f32x4.add(x, magic);
  const f = f32x4.sub(x, f32x4.sub(shifted, magic));
  const ff = f32x4.mul(f, f);
  const upper = madd(madd(c5, f, c4), ff, madd(c3, f, c2));
  const p = madd(upper, ff, madd(c1, f, one));
  return i32x4.add(p, i32x4.shl(shifted, 23));
}
