import { elu1, gelu, logSigmoid, relu, sigmoid, silu, softplus, tanh } from '@freelunch/kernels/reference';
import { describe, expect, it } from 'vitest';
import { guarded } from './kernels.ts';

const references = { silu, gelu, softplus, logSigmoid, sigmoid, tanh, relu, elu1 };
const forms = [
  ...(Object.keys(references) as (keyof typeof references)[]).map((op) => [op, op, {}] as const),
  ['gelu with tanh', 'gelu', { approximate: 'tanh' }] as const,
];
const magnitudes = [0, 1e-40, 1e-30, 1e-8, 1e-3, 16, 50, 88, 89, 100, 104, 1e4, 1e10, 1e30, 3e38, Infinity];
const extremes = magnitudes.flatMap((x) => [x, -x]);

/** The outermost slopes, which finite differences of float64 give too coarsely. */
const slopesAt1e4: Record<string, [left: number, right: number]> = {
  logSigmoid: [1, 0],
  sigmoid: [0, 0],
  tanh: [0, 0],
};

describe.each(guarded)('%s', (_variant, k) => {
  it.each(forms)('%s keeps its relative precision', (_title, op, options) => {
    k.scope(() => {
      // Within the range where the result is no smaller than a normal float32, and e^(x^2/2) no coarser than 1e-5.
      const x = k.tensor(Float32Array.from({ length: 20001 }, (_, i) => (i - 10000) / 1250));
      const reference = references[op]({
        x: { shape: x.shape, data: Float64Array.from(x.data) },
        ...options,
      });
      const got = k[op]({ x, ...options }).data;
      let error = 0;
      reference.data.forEach((want, i) => {
        if (want !== 0) error = Math.max(error, Math.abs(got[i] / want - 1));
      });
      expect(error).toBeLessThan(op === 'gelu' ? 8e-6 : 3e-7);
    });
  });

  it.each([
    ['relu', 0],
    ['elu1', 1],
  ] as const)('%s has slope %d at 0, where its two sides meet', (op, slope) => {
    k.scope(() => {
      // Whole vectors and a rest.
      const x = k.tensor([0, -0, 0, -0, 0, -0]);
      const dy = k.tensor([1, 2, 3, 4, 5, 6]);
      const { dx } = op === 'relu' ? k.reluBackward({ x, dy }) : k.elu1Backward({ x, dy });
      expect([...dx.data]).toEqual([...dy.data].map((value) => slope * value));
    });
  });

  it.each(forms)('%s is right at extreme inputs, and its slope is finite', (_title, op, options) => {
    k.scope(() => {
      const x = k.tensor(Float32Array.from(extremes));
      const reference = references[op]({
        x: { shape: x.shape, data: Float64Array.from(x.data) },
        ...options,
      });
      const got = k[op]({ x, ...options }).toArray();
      reference.data.forEach((want, i) => {
        // What is below the normal range of float32 may become 0.
        const bound = Math.abs(want) < 3e-37 ? 3e-37 : 1e-6 * Math.abs(want);
        const error = Object.is(got[i], want) ? 0 : Math.abs(got[i] - want);
        expect(error, `${op}(${extremes[i]}) = ${got[i]}`).toBeLessThanOrEqual(bound);
      });

      const dy = k.tensor(new Float32Array(extremes.length).fill(1));
      const backward = `${op}Backward` as 'siluBackward';
      const dx = k[backward]({ x, dy, ...options }).dx.toArray();
      extremes.forEach((value, i) => {
        if (Math.abs(value) < 1e4)
          return expect(dx[i], `slope of ${op} at ${value}`).toSatisfy(Number.isFinite);
        const [left, right] = slopesAt1e4[op] ?? [0, 1];
        return expect(dx[i], `slope of ${op} at ${value}`).toBeCloseTo(value < 0 ? left : right, 30);
      });
    });
  });

  it.each(forms)('%s passes NaN on', (_title, op, options) => {
    k.scope(() => {
      expect([...k[op]({ x: k.tensor([1, NaN]), ...options }).data].map(Number.isNaN)).toEqual([false, true]);
    });
  });

  it('gated ops close their gates at -Infinity, and their gradients stay finite', () => {
    k.scope(() => {
      const closed = k.tensor([-Infinity, 0.5, -Infinity, 0.5, -1, 2], [1, 1, 6]);
      const x = k.tensor([1, -2, 3, 4, 5, 6], [1, 1, 6]);
      const finite = (tensor: { data: ArrayLike<number> }) => Array.from(tensor.data).every(Number.isFinite);

      for (const normBeforeGate of [false, true]) {
        const y = k.gatedRmsNorm({ x, z: closed, normBeforeGate });
        expect([y.data[0], y.data[2]]).toEqual([-0, -0]);
        const { dx, dz } = k.gatedRmsNormBackward({ x, z: closed, dy: x, normBeforeGate });
        expect([finite(y), finite(dx), finite(dz)]).toEqual([true, true, true]);
      }

      const scan = { u: x, delta: x, A: k.zeros([6, 2]), B: k.zeros([1, 1, 2]), C: k.zeros([1, 1, 2]) };
      const D = k.tensor([1, 1, 1, 1, 1, 1]);
      expect(finite(k.selectiveScan({ ...scan, D, z: closed }).y)).toBe(true);
      expect(finite(k.selectiveScanBackward({ ...scan, D, z: closed, dy: x }).dz!)).toBe(true);

      const conv = { x: closed, weight: k.tensor([1, 1, 1, 1, 1, 1], [6, 1]), activation: 'silu' as const };
      expect([...k.causalConv1d(conv).y.data.subarray(0, 3)]).toEqual([-0, expect.any(Number), -0]);
      expect(finite(k.causalConv1dBackward({ ...conv, dy: x }).dx)).toBe(true);
    });
  });

  it('takes any shape, and gives that shape', () => {
    k.scope(() => {
      expect(k.tanh({ x: k.zeros([2, 3, 5]) }).shape).toEqual([2, 3, 5]);
      expect(k.gelu({ x: k.zeros([]) }).shape).toEqual([]);
    });
  });

  it('refuses what does not fit', () => {
    k.scope(() => {
      const x = k.zeros([2, 3]);
      expect(() => k.scale({ x, factor: NaN })).toThrow('scale: factor must be a finite number, got NaN');
      expect(() => k.scale({ x, factor: [1, 2] })).toThrow(
        'scale: factor must be one number where there are no sizes',
      );
      expect(() => k.scale({ x, factor: [1, 2], sizes: [1, 1] })).toThrow(
        'scale: sizes must be widths that add up to 3, got',
      );
      expect(() => k.scale({ x, factor: 2, sizes: [1, 2] })).toThrow(
        'scale: factor must be 2 numbers, one per size, got 2',
      );
      expect(() => k.add({ a: x, b: k.zeros([3, 2]) })).toThrow('add: b must be [2, 3], got [3, 2]');
      expect(() => k.geluBackward({ x, dy: k.zeros([6]) })).toThrow(
        'geluBackward: dy must be [2, 3], got [6]',
      );
      expect(() => k.gelu({ x, approximate: 'erf' as 'none' })).toThrow(
        "gelu: approximate must be one of none, tanh, got 'erf'",
      );
      expect(() => k.relu({ x: k.zeros([2], 'int32') })).toThrow('relu: x must be float32, got int32');
      x.dispose();
      expect(() => k.silu({ x })).toThrow('silu: x, a tensor of shape [2, 3], was disposed of');
    });
  });
});
