import type { Kernels } from '@freelunch/kernels';
import { ArgumentError, DisposedError, DTypeError, ShapeError } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import { type HostArgs, normal, run, runReference } from './cases/case.ts';
import { relativeError } from './compare.ts';
import { guarded } from './kernels.ts';

describe.each(guarded)('%s', (_variant, k) => {
  const zeros = (...shape: number[]) => k.zeros(shape);
  const inScope = (fn: (k: Kernels) => void) => () => k.scope(() => fn(k));

  it('keeps infinities and NaN in their own rows and columns', () => {
    // 7 x 9: broken tiles; 20 x 20: whole ones too; 2 rows: the path without tiles.
    for (const [m, n, depth] of [
      [7, 9, 5],
      [20, 20, 9],
      [2, 9, 11],
      [9, 1, 6],
    ]) {
      for (const [transposeA, transposeB] of [
        [false, false],
        [true, false],
        [false, true],
        [true, true],
      ]) {
        k.scope(() => {
          const a = k.zeros(transposeA ? [depth, m] : [m, depth]);
          const b = k.zeros(transposeB ? [n, depth] : [depth, n]);
          a.data.fill(1);
          b.data.fill(1);
          a.data[a.size - 1] = Infinity; // of the last row
          b.data[b.size - 1] = NaN; // of the last column
          const y = k.matmul({ a, b, transposeA, transposeB });
          const want = Float32Array.from({ length: m * n }, (_, i) => {
            if (i % n === n - 1) return NaN;
            return Math.floor(i / n) === m - 1 ? Infinity : depth;
          });
          expect([...y.data]).toEqual([...want]);
        });
      }
    }
  });

  it('loses no more digits over 4,096 steps than over a few', () => {
    const rng = random(3);
    for (const m of [1, 9]) {
      const a = normal(rng, [m, 4096]);
      const b = normal(rng, [16, 4096]);
      const args: HostArgs = { a, b, transposeB: true };
      expect(relativeError(run(k, 'matmul', args).y.data, runReference('matmul', args).y.data)).toBeLessThan(
        2e-6,
      );
    }
  });

  it('multiplies by the identity to the last bit', () => {
    k.scope(() => {
      const size = 37;
      const identity = k.tensor(
        Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0)),
        [size, size],
      );
      const x = k.tensor(normal(random(5), [size, size]).data, [size, size]);
      for (const transposeB of [false, true])
        expect([...k.matmul({ a: x, b: identity, transposeB }).data]).toEqual([...x.data]);
      expect([...k.matmul({ a: identity, b: x }).data]).toEqual([...x.data]);
    });
  });

  it('gives a folded batch what it gives each matrix alone', () => {
    k.scope(() => {
      const rng = random(6);
      const a = normal(rng, [3, 4, 10, 6]);
      const b = normal(rng, [6, 11]);
      const whole = k.matmul({ a: k.tensor(a.data, a.shape), b: k.tensor(b.data, b.shape) });
      expect(whole.shape).toEqual([3, 4, 10, 11]);
      for (let i = 0; i < 12; i++) {
        const one = k.matmul({
          a: k.tensor(a.data.slice(i * 60, (i + 1) * 60), [10, 6]),
          b: k.tensor(b.data, b.shape),
        });
        expect(one.data).toEqual(whole.data.slice(i * 110, (i + 1) * 110));
      }
    });
  });

  it.each<[string, typeof ShapeError, string, (k: Kernels) => unknown]>([
    [
      'a vector',
      ShapeError,
      'matmul: a must be [..., m, k], got [3]',
      () => k.matmul({ a: zeros(3), b: zeros(3, 2) }),
    ],
    [
      'other inner sizes',
      ShapeError,
      'matmul: b must be [k, n] = [3, n], got [4, 2]',
      () => k.matmul({ a: zeros(2, 3), b: zeros(4, 2) }),
    ],
    [
      'a b that fits only untransposed',
      ShapeError,
      'matmul: b must be [n, k] = [n, 3], got [3, 2]',
      () => k.matmul({ a: zeros(5, 3), b: zeros(3, 2), transposeB: true }),
    ],
    [
      'another batch',
      ShapeError,
      'matmul: b must be [4, k, n] = [4, 3, n], got [5, 3, 2]',
      () => k.matmul({ a: zeros(4, 2, 3), b: zeros(5, 3, 2) }),
    ],
    [
      'a batch for b alone',
      ShapeError,
      'matmul: b must be [k, n] = [3, n], got [4, 3, 2]',
      () => k.matmul({ a: zeros(2, 3), b: zeros(4, 3, 2) }),
    ],
    [
      'a bias of the wrong length',
      ShapeError,
      'matmul: bias must be [n] = [2], got [3]',
      () => k.matmul({ a: zeros(2, 3), b: zeros(3, 2), bias: zeros(3) }),
    ],
    [
      'integers',
      DTypeError,
      'matmul: a must be float32, got int32',
      () => k.matmul({ a: k.zeros([2, 3], 'int32'), b: zeros(3, 2) }),
    ],
    [
      'a missing factor',
      DTypeError,
      'matmul: b must be a float32 tensor, got nothing',
      () => k.matmul({ a: zeros(2, 3) } as never),
    ],
    [
      'a missing upstream gradient',
      DTypeError,
      'matmulBackward: dy must be a float32 tensor, got nothing',
      () => k.matmulBackward({ a: zeros(2, 3), b: zeros(3, 2) } as never),
    ],
    [
      'another upstream gradient',
      ShapeError,
      'matmulBackward: dy must be [m, n] = [2, 2], got [2, 3]',
      () => k.matmulBackward({ a: zeros(2, 3), b: zeros(3, 2), dy: zeros(2, 3) }),
    ],
  ])('refuses %s', (_title, error, message, call) => {
    const before = k.memory.usedBytes;
    expect(inScope(() => void call(k))).toThrow(error);
    expect(inScope(() => void call(k))).toThrow(message);
    expect(k.memory.usedBytes).toBe(before);
  });

  it('refuses what was disposed of, and tensors of other kernels', () => {
    k.scope(() => {
      const a = zeros(2, 3);
      a.dispose();
      expect(() => k.matmul({ a, b: zeros(3, 2) })).toThrow(DisposedError);
      const other = guarded.find(([, kernels]) => kernels !== k)?.[1];
      if (other !== undefined) {
        const b = other.zeros([3, 2]);
        expect(() => k.matmul({ a: zeros(2, 3), b })).toThrow(ArgumentError);
        b.dispose();
      }
    });
  });
});
