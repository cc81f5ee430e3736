import { FormatError } from '@freelunch/kernels';
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { formatJson, parseJson, shown } from './json.js';

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
    c: 'NaN',
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

it('shows values in few characters', () => {
  expect(shown({ a: 1 })).toBe('{"a":1}');
  expect(shown(undefined)).toBe('undefined');
  expect(shown('x'.repeat(1000)).length).toBe(80);
  expect(shown(JSON.parse('['.repeat(100_000) + ']'.repeat(100_000))).length).toBeLessThan(81);
});
