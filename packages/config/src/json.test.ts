import { FormatError } from '@freelunch/errors';
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { formatJson, parseJson, plain } from './json.js';

it('reads what JSON.parse reads', () => {
  fc.assert(
    fc.property(fc.json(), (text) => void expect(parseJson(text, 'x')).toEqual(JSON.parse(text))),
    { seed: 1 },
  );
});

it('reads bare Infinity and NaN, and leaves texts alone', () => {
  const text = '{"a": [0.0, Infinity], "b": -Infinity, "c": NaN, "d": "Infinity \\" NaN", "NaN": 1}';
  expect(parseJson(text, 'x')).toEqual({
    a: [0, Infinity],
    b: -Infinity,
    c: { __float__: 'NaN' },
    d: 'Infinity " NaN',
    NaN: 1,
  });
});

it.each(['', '{', 'Infinit', '{"a": In}', 'NaNN', '"', '"\\', '"\\"'.repeat(300_000), '['.repeat(300_000)])(
  'gives a FormatError for text that is no JSON, soon',
  (text) => {
    const start = performance.now();
    expect(() => parseJson(text, 'config.json')).toThrow(FormatError);
    expect(performance.now() - start).toBeLessThan(2000);
  },
);

it('writes Infinity bare, and back', () => {
  const value = { limit: [0.5, Infinity], text: 'Infinity' };
  expect(formatJson(value)).toContain('    Infinity\n');
  expect(parseJson(formatJson(value), 'x')).toEqual(value);
});

it('turns what Transformers 5 writes for special floats into numbers, and nothing else', () => {
  const floats = { a: [{ __float__: 'Infinity' }, { __float__: '-Infinity' }], b: { __float__: 'NaN' } };
  expect(plain(floats)).toEqual({ a: [Infinity, -Infinity], b: NaN });
  const others = { a: { __float__: 'x' }, b: { __float__: 1 }, c: { __float__: 'NaN', d: 1 }, e: null };
  expect(plain(others)).toEqual(others);
});

it('takes values of any depth', () => {
  const deep = JSON.parse('['.repeat(100_000) + ']'.repeat(100_000)) as unknown;
  expect(Array.isArray(plain(deep))).toBe(true);
});
