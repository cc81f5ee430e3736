import { readdirSync, readFileSync } from 'node:fs';
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

it('is the only such arithmetic: nothing that decides a sample comes from functions that differ between engines', () => {
  const folder = new URL('./', import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
  expect(files.length).toBeGreaterThan(30);
  for (const name of files) {
    const code = readFileSync(new URL(name, folder), 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    const used = code.match(/Math\.\w+/g) ?? [];
    const exact = /^Math\.(abs|ceil|floor|imul|max|min|round|sqrt|LN2|SQRT2)$/;
    expect(used.filter((call) => !exact.test(call))).toEqual([]);
    expect(code).not.toMatch(/from 'node:|require\(|process\./);
  }
});
