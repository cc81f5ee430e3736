import { describe, expect, it } from 'vitest';
import { philox, Random, random } from './random.js';

const hex = (words: Iterable<number>) =>
  [...words].map((word) => word.toString(16).padStart(8, '0')).join(' ');

describe('philox', () => {
  // The published vectors of philox4x32-10 (kat_vectors of Random123).
  it.each([
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      '408f276d 41c83b0e a20bc7c6 6d5451fd',
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    ],
  ])('gives the published words for counter %j and key %j', (counter, key, words) => {
    const out = new Uint32Array(4);
    philox(out, counter, key);
    expect(hex(out)).toBe(words);
  });
});

describe('random', () => {
  it('goes on from a saved state with the same numbers, wherever it was saved', () => {
    for (let taken = 0; taken < 10; taken++) {
      const rng = random(7);
      for (let i = 0; i < taken; i++) rng.uint32();
      const copy = Random.from(JSON.parse(JSON.stringify(rng.state)));
      expect(Array.from({ length: 9 }, () => copy.uint32())).toEqual(
        Array.from({ length: 9 }, () => rng.uint32()),
      );
    }
  });

  it('splits into streams that differ by name and do not depend on the position', () => {
    const rng = random(1);
    const before = rng.split('a').uint32();
    rng.uint32();
    expect(rng.split('a').uint32()).toBe(before);
    expect(rng.split('b').uint32()).not.toBe(before);
    expect(rng.split(1).uint32()).not.toBe(rng.split('1').uint32());
  });

  it('draws integers evenly', () => {
    const counts = [0, 0, 0, 0, 0, 0];
    const rng = random(3);
    for (let i = 0; i < 60000; i++) counts[rng.integer(6)]++;
    const chiSquare = counts.reduce((sum, count) => sum + (count - 10000) ** 2 / 10000, 0);
    expect(chiSquare).toBeLessThan(20.5); // 5 degrees of freedom, p = 0.001
  });

  it('draws normal numbers with the moments of the normal distribution', () => {
    const rng = random(4);
    const moments = [0, 0, 0, 0];
    const count = 200000;
    for (let i = 0; i < count; i++) {
      const x = rng.normal();
      for (let power = 0; power < 4; power++) moments[power] += x ** (power + 1) / count;
    }
    expect(moments[0]).toBeCloseTo(0, 1);
    expect(Math.abs(moments[1] - 1)).toBeLessThan(0.02);
    expect(Math.abs(moments[2])).toBeLessThan(0.04);
    expect(Math.abs(moments[3] - 3)).toBeLessThan(0.1);
  });

  it.each([-1, 0.5, NaN, 2 ** 53])('refuses the seed %d', (seed) => {
    expect(() => random(seed)).toThrow(/random: seed must be a whole number/);
  });
});
