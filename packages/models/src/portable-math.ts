/**
 * exp and ln by arithmetic alone, to a few units in the last place of a double: initial weights must have the same
 * bits in every engine, and `Math.exp` and `Math.log` differ between them.
 */

/** e^x for |x| < 700. */
export function exp(x: number): number {
  const n = Math.round(x / Math.LN2);
  const r = (x - n * Math.LN2) / 256; // small, then squared eight times
  let sum = 1;
  for (let i = 12; i >= 1; i--) sum = 1 + (sum * r) / i;
  for (let i = 0; i < 8; i++) sum *= sum;
  return sum * 2 ** n;
}

/** Natural logarithm of x > 0. */
export function ln(x: number): number {
  let n = 0;
  while (x > Math.SQRT2) {
    x /= 2;
    n++;
  }
  while (x < Math.SQRT1_2) {
    x *= 2;
    n--;
  }
  const s = (x - 1) / (x + 1);
  const w = s * s;
  let sum = 0;
  for (let i = 25; i >= 1; i -= 2) sum = sum * w + 1 / i;
  return 2 * s * sum + n * Math.LN2;
}
