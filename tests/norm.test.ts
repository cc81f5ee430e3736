import { loadKernels, OutOfMemoryError } from '@freelunch/kernels';
import { describe, expect, it } from 'vitest';
import { guarded } from './kernels.ts';

describe.each(guarded)('%s', (_variant, k) => {
  it('adds gradients of weight and bias up over 20,000 rows without losing digits', () => {
    k.scope(() => {
      const rows = 20000;
      const third = Math.fround(1 / 3);
      const dy = k.tensor(new Float32Array(rows).fill(third), [rows, 1]);
      const x = k.tensor(new Float32Array(rows).fill(1), [rows, 1]);
      const error = (sum: number) => Math.abs(sum / (rows * third) - 1);

      let plain = 0;
      for (let i = 0; i < rows; i++) plain = Math.fround(plain + third);
      expect(error(plain), 'of a sum in float32 throughout').toBeGreaterThan(1e-5);

      const { dbias } = k.layerNormBackward({ x, bias: k.tensor([0]), dy });
      expect(error(dbias!.data[0])).toBeLessThan(5e-7);
      const { dweight } = k.rmsNormBackward({ x, weight: k.tensor([1]), eps: 1e-30, dy });
      expect(error(dweight!.data[0])).toBeLessThan(5e-7);
      const gate = k.gatedRmsNormBackward({ x, z: x, weight: k.tensor([1]), eps: 1e-30, dy });
      expect(error(gate.dweight!.data[0])).toBeLessThan(5e-7);
    });
  });

  it('norms a row of zeros to zeros, and gives it finite gradients', () => {
    k.scope(() => {
      const x = k.zeros([1, 5]);
      const dy = k.tensor([1, 2, 3, 4, 5], [1, 5]);
      expect([...k.rmsNorm({ x }).data]).toEqual([0, 0, 0, 0, 0]);
      expect([...k.layerNorm({ x }).data]).toEqual([0, 0, 0, 0, 0]);
      expect([...k.gatedRmsNorm({ x, z: dy.reshape([1, 5]) }).data]).toEqual([0, 0, 0, 0, 0]);
      expect([...k.rmsNormBackward({ x, dy }).dx.data].every(Number.isFinite)).toBe(true);
      expect([...k.layerNormBackward({ x, dy }).dx.data].every(Number.isFinite)).toBe(true);
    });
  });

  it('closes and opens the gate at extreme z', () => {
    k.scope(() => {
      const args = {
        x: k.tensor([[3, -4, 3, -4]].flat(), [1, 4]),
        z: k.tensor([1e4, 1e4, -1e4, -100], [1, 4]),
      };
      const after = k.gatedRmsNorm(args).toArray();
      expect(after[0] / after[1]).toBeCloseTo(-0.75, 6);
      expect(after[2]).toBe(-0);
      expect(after[3]).toBeCloseTo(0, 30);
      const before = k.gatedRmsNorm({ ...args, normBeforeGate: true }).toArray();
      expect(before[0]).toBeCloseTo((3 / Math.sqrt(12.5)) * 1e4, 1);
      const { dx, dz } = k.gatedRmsNormBackward({ ...args, dy: k.tensor([1, 1, 1, 1], [1, 4]) });
      expect([...dx.data, ...dz.data].every(Number.isFinite)).toBe(true);
    });
  });

  it('refuses what does not fit', () => {
    k.scope(() => {
      const x = k.zeros([2, 6]);
      expect(() => k.rmsNorm({ x, weight: k.zeros([5]) })).toThrow(
        'rmsNorm: weight must be [dim] = [6], got [5]',
      );
      expect(() => k.rmsNorm({ x: k.zeros([]) })).toThrow('rmsNorm: x must be [..., dim], got []');
      for (const eps of [0, -1, NaN, Infinity])
        expect(() => k.layerNorm({ x, eps })).toThrow('layerNorm: eps must be');
      expect(() => k.layerNorm({ x, bias: k.zeros([1, 6]) })).toThrow('layerNorm: bias must be [dim] = [6]');
      expect(() => k.gatedRmsNorm({ x, z: k.zeros([12]) })).toThrow(
        'gatedRmsNorm: z must be [2, 6], got [12]',
      );
      expect(() => k.gatedRmsNorm({ x, z: x, groups: 4 })).toThrow(
        'gatedRmsNorm: groups must be a divisor of dim = 6, got 4',
      );
      expect(() => k.rmsNormBackward({ x, dy: k.zeros([2, 5]) })).toThrow(
        'rmsNormBackward: dy must be [2, 6]',
      );
    });
  });
});

it.each([
  ['the second output', 120],
  ['the scratch memory', 115],
])('frees what it made if the memory does not hold %s', async (_what, rows) => {
  const small = await loadKernels({ variant: 'simd', maximumBytes: 2 ** 21 });
  const dim = 1500;
  const args = { x: small.zeros([rows, dim]), weight: small.zeros([dim]) };
  const before = small.memory;
  const backward = () => small.gatedRmsNormBackward({ ...args, z: args.x, dy: args.x });
  expect(backward).toThrow(OutOfMemoryError);
  expect(small.memory.tensors).toBe(before.tensors);
  expect(small.memory.usedBytes).toBe(before.usedBytes);
});
