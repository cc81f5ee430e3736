import { expect, it } from 'vitest';
import { agreementOf, agreementOfOrders, orderOf, spread, statistics, wilson } from './statistics.js';

it('keeps the least and the greatest value beside the mean', () => {
  expect(spread([0.25, 1, 0.25])).toEqual({ mean: 0.5, least: 0.25, greatest: 1 });
  expect(spread([5])).toEqual({ mean: 5, least: 5, greatest: 5 });
});

it('knows the standard error of a mean', () => {
  expect(statistics([1, 2, 3])).toEqual({ mean: 2, standardError: Math.sqrt(1 / 3) });
  expect(statistics([0.5])).toEqual({ mean: 0.5, standardError: 0 });
});

// Newcombe 1998, Statistics in Medicine 17, table I, method 3.
it.each([
  [81, 263, 0.2553, 0.3662],
  [15, 148, 0.0624, 0.1605],
  [0, 20, 0, 0.1611],
  [1, 29, 0.0061, 0.1718],
])('puts %i of %i right between %f and %f', (right, of, low, high) => {
  const [from, to] = wilson(right / of, of);
  expect(from).toBeCloseTo(low, 4);
  expect(to).toBeCloseTo(high, 4);
});

it('never leaves 0 to 1', () => {
  for (const of of [1, 2, 7, 60])
    for (let right = 0; right <= of; right++) {
      const [low, high] = wilson(right / of, of);
      expect(low).toBeGreaterThanOrEqual(0);
      expect(high).toBeLessThanOrEqual(1);
      expect(low).toBeLessThanOrEqual(right / of);
      expect(high).toBeGreaterThanOrEqual(right / of);
      expect(high - low).toBeGreaterThan(0);
    }
});

it('leaves open what the seeds do not tell', () => {
  const [low, high, wide] = [spread([0.1, 0.2]), spread([0.8, 0.9]), spread([0.15, 0.85])];
  expect([orderOf(high, low), orderOf(low, high), orderOf(wide, low)]).toEqual([1, -1, 0]);
  expect(orderOf(low, low)).toBe(0);
  expect(agreementOfOrders([1, 1])).toBe(true);
  expect(agreementOfOrders([-1, -1])).toBe(false);
  for (const open of [[], [0], [1, 0], [1, -1], [0, -1]] as const)
    expect(agreementOfOrders(open)).toBe('partly');
  expect([agreementOf(2, 2), agreementOf(1, 2), agreementOf(0, 2)]).toEqual([true, 'partly', false]);
});
