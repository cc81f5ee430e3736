import { expect, it } from 'vitest';
import { shown } from './json.js';

it('shows values in few characters', () => {
  expect(shown({ a: 1 })).toBe('{"a":1}');
  expect(shown(undefined)).toBe('undefined');
  expect(shown('x'.repeat(1000)).length).toBe(80);
  expect(shown(JSON.parse('['.repeat(100_000) + ']'.repeat(100_000))).length).toBeLessThan(81);
});
