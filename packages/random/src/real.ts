/**
 * Logarithm, exponential and power by + - * / alone, so that every engine gets the same bits: Math.log, Math.exp and
 * Math.pow differ between engines, and what decides a sample must not.
 */

const LN2 = Math.LN2;
const scratch = new DataView(new ArrayBuffer(8));

/** Natural logarithm of a positive normal number. */
export function ln(x: number): number {
  scratch.setFloat64(0, x);
  const high = scratch.getUint32(0);
  let exponent = (high >>> 20) - 1023;
  scratch.setUint32(0, (high & 0xfffff) | 0x3ff00000);
  let mantissa = scratch.getFloat64(0); // in [1, 2)
  if (mantissa > Math.SQRT2) {
    mantissa /= 2;
    exponent++;
  }
  const s = (mantissa - 1) / (mantissa + 1); // |s| < 0.172
  const w = s * s;
  let series = 0;
  for (let k = 23; k >= 1; k -= 2) series = series * w + 1 / k;
  return exponent * LN2 + 2 * s * series;
}

/** e^x for |x| < 700. */
export function exp(x: number): number {
  const exponent = Math.round(x / LN2);
  const rest = x - exponent * LN2; // |rest| <= 0.35
  let series = 1;
  for (let k = 18; k >= 1; k--) series = 1 + (series * rest) / k;
  scratch.setUint32(0, (exponent + 1023) << 20);
  scratch.setUint32(4, 0);
  return series * scratch.getFloat64(0); // by 2^exponent
}

/** base^exponent for a positive base. */
export function power(base: number, exponent: number): number {
  return exp(exponent * ln(base));
}
