import { describe, expect, it } from 'vitest';
import { constant, cosine, linearWarmup } from './index.js';
import { cosineOfPi } from './schedules.js';

describe('schedules', () => {
  it('are constant', () => {
    expect([1, 2, 1e6].map(constant(0.5))).toEqual([0.5, 0.5, 0.5]);
  });

  it('warm up in even steps', () => {
    expect([1, 2, 3, 4, 5, 100].map(linearWarmup(8, 4))).toEqual([2, 4, 6, 8, 8, 8]);
    expect([1, 2, 3].map(linearWarmup(8, 0))).toEqual([8, 8, 8]);
    expect([1, 2, 3].map(linearWarmup(8, 2, constant(1)))).toEqual([4, 1, 1]);
  });

  it('go down half a cosine', () => {
    const rate = cosine({ peak: 3, floor: 1, warmupSteps: 10, totalSteps: 30 });
    expect(rate(5)).toBe(1.5);
    expect(rate(10)).toBe(3);
    expect(rate(20)).toBeCloseTo(2, 14);
    expect(rate(15)).toBeCloseTo(2 + Math.SQRT1_2, 14);
    expect([rate(30), rate(31), rate(1000)]).toEqual([1, 1, 1]);
  });

  it('know the cosine to the last places', () => {
    for (let i = 0; i <= 1000; i++)
      expect(Math.abs(cosineOfPi(i / 1000) - Math.cos((Math.PI * i) / 1000))).toBeLessThan(3e-16 * 2);
    expect([cosineOfPi(0), cosineOfPi(1)]).toEqual([1, -1]);
  });

  it('refuse numbers out of range', () => {
    expect(() => constant(NaN)).toThrow('constant: rate must be a finite number from 0 up, got NaN');
    expect(() => linearWarmup(1, -1)).toThrow(/warmupSteps/);
    expect(() => cosine({ peak: 1, totalSteps: 5, warmupSteps: 5 })).toThrow(
      'cosine: totalSteps must be above warmupSteps = 5, got 5',
    );
    expect(() => cosine({ peak: 1, totalSteps: 5, floor: -1 })).toThrow(/floor/);
  });
});
