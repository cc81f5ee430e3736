import { expect, it } from 'vitest';
import { exp, ln, power } from './real.js';

it('agrees with the engine to a few units of the last place', () => {
  for (let x = 0.001; x < 5000; x *= 1.37) {
    expect(Math.abs(ln(x) - Math.log(x))).toBeLessThan(4e-15);
    expect(Math.abs(exp(ln(x)) / x - 1)).toBeLessThan(1e-14);
    for (const exponent of [-0.99, -0.5, 0, 1, 2.5]) {
      expect(Math.abs(power(x, exponent) / Math.pow(x, exponent) - 1)).toBeLessThan(1e-13);
    }
  }
  expect(power(7, 0)).toBe(1);
  expect(exp(0)).toBe(1);
});
