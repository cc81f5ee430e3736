import { loadKernels, OutOfMemoryError } from '@freelunch/kernels';
import { describe, expect, it } from 'vitest';
import { guarded } from './kernels.ts';

/** The largest error, as a share of the largest number wanted. */
function errorOf(got: ArrayLike<number>, want: readonly number[]): number {
  const largest = Math.max(...want.map(Math.abs));
  return Math.max(...want.map((value, i) => Math.abs(got[i] - value))) / largest;
}

/** Gradients of `sum of dy f(x)` by the formula in float64. */
function rowInDouble(
  x: number[],
  dy: number[],
  weight: number[],
  eps: number,
  centred: boolean,
): { y: number[]; dx: number[]; dweight: number[] } {
  const mean = (values: number[]) => values.reduce((a, b) => a + b / values.length, 0);
  const middle = centred ? mean(x) : 0;
  const r = 1 / Math.sqrt(mean(x.map((value) => (value - middle) ** 2)) + eps);
  const n = x.map((value) => (value - middle) * r);
  const g = dy.map((value, i) => value * weight[i]);
  const push = centred ? mean(g) : 0;
  const pull = mean(g.map((value, i) => value * n[i]));
  return {
    y: n.map((value, i) => value * weight[i]),
    dx: g.map((value, i) => r * (value - push - n[i] * pull)),
    dweight: dy.map((value, i) => value * n[i]),
  };
}

/** Rows whose sums of squares or products leave the range of float32, and one that does not, before and after them. */
const scales = [1, 1e20, 3e38, 1, 1e-15, 1e-30];
const pattern = [1, -1, 1, -1, 0.5, -0.25, 0.75, 1, -1, 0.125, 1];

describe.each(guarded)('%s', (_variant, k) => {
  it.each([
    ['rmsNorm', false],
    ['layerNorm', true],
  ] as const)('%s keeps its digits where squares overflow and where they underflow', (op, centred) => {
    const eps = 1e-30;
    const weight = pattern.map((_, i) => 1 + i / 8);
    for (const scale of scales) {
      for (const upstream of [1, 1e20]) {
        if (upstream > 1 && scale < 1e20) continue; // dx itself would overflow
        k.scope(() => {
          const x = k.tensor(
            pattern.map((value) => value * scale),
            [1, pattern.length],
          );
          const dy = k.tensor(
            pattern.map((_, i) => upstream * (i % 3) - upstream / 2),
            [1, pattern.length],
          );
          const w = k.tensor(weight);
          const want = rowInDouble([...x.data], [...dy.data], [...w.data], eps, centred);
          const gradients = k[`${op}Backward`]({ x, dy, weight: w, eps });
          expect(errorOf(k[op]({ x, weight: w, eps }).data, want.y), `y at ${scale}`).toBeLessThan(2e-6);
          expect(errorOf(gradients.dx.data, want.dx), `dx at ${scale}`).toBeLessThan(
            scale > 1e37 ? 1e-4 : 2e-6,
          );
          expect(errorOf(gradients.dweight!.data, want.dweight), `dweight at ${scale}`).toBeLessThan(2e-6);
        });
      }
    }
  });

  it.each([false, true])(
    'gatedRmsNorm keeps its digits where squares overflow, norm before gate: %s',
    (normBeforeGate) => {
      k.scope(() => {
        const shape = [1, pattern.length];
        const small = {
          z: k.tensor(
            pattern.map((_, i) => i / 4 - 1),
            shape,
          ),
          weight: k.tensor(pattern),
          normBeforeGate,
        };
        const dy = k.tensor(
          pattern.map((_, i) => (i % 3) - 0.5),
          shape,
        );
        const want = { x: k.tensor(pattern, shape), ...small, eps: 1e-30 };
        const got = {
          ...want,
          x: k.tensor(
            pattern.map((value) => value * 2 ** 70),
            shape,
          ),
        };
        // Far above eps a power of two in x changes nothing but the scale of dx.
        expect(errorOf(k.gatedRmsNorm(got).data, [...k.gatedRmsNorm(want).data])).toBeLessThan(2e-6);
        const gradients = k.gatedRmsNormBackward({ ...got, dy });
        const expected = k.gatedRmsNormBackward({ ...want, dy });
        expect(
          errorOf(
            gradients.dx.data,
            [...expected.dx.data].map((value) => value / 2 ** 70),
          ),
        ).toBeLessThan(2e-6);
        expect(errorOf(gradients.dz.data, [...expected.dz.data])).toBeLessThan(2e-6);
        expect(errorOf(gradients.dweight!.data, [...expected.dweight!.data])).toBeLessThan(2e-6);
      });
    },
  );

  it('gives +-1 for rows of +-1e20', () => {
    k.scope(() => {
      const x = k.tensor([1e20, -1e20, 1e20, -1e20, 1e20], [1, 5]);
      const ones = k.tensor([1, 1, 1, 1, 1], [1, 5]);
      expect([...k.rmsNorm({ x }).data]).toEqual([1, -1, 1, -1, 1]);
      expect([...k.gatedRmsNorm({ x, z: ones }).data].map(Math.fround)).toEqual([1, -1, 1, -1, 1]);
      const even = k.tensor([1e20, -1e20, 1e20, -1e20], [1, 4]);
      expect([...k.layerNorm({ x: even }).data]).toEqual([1, -1, 1, -1]);
    });
  });

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
