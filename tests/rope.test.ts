import type { RopeScaling } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import { normal } from './cases/case.ts';
import { relativeError } from './compare.ts';
import { guarded } from './kernels.ts';

describe.each(guarded)('%s', (_variant, k) => {
  it('gives with an offset what it gives with positions', () => {
    k.scope(() => {
      const x = k.tensor(normal(random(0), [1, 100, 2, 16]).data, [1, 100, 2, 16]);
      const positions = k.tensor(Int32Array.from({ length: 100 }, (_, t) => 50000 + t));
      const stepped = k.rope({ x, offset: 50000 }).data;
      expect(relativeError(stepped, k.rope({ x, positions }).data)).toBeLessThan(1e-7);
    });
  });

  it('makes the product of query and key depend on their distance only', () => {
    k.scope(() => {
      const q = k.tensor(normal(random(1), [1, 1, 1, 8]).data, [1, 1, 1, 8]);
      const key = k.tensor(normal(random(2), [1, 1, 1, 8]).data, [1, 1, 1, 8]);
      const score = (i: number, j: number) => {
        const a = k.rope({ x: q, offset: i }).toArray();
        const b = k.rope({ x: key, offset: j }).toArray();
        return a.reduce((sum, value, n) => sum + value * b[n], 0);
      };
      expect(score(1000007, 1000000)).toBeCloseTo(score(7, 0), 5);
      expect(Math.abs(score(7, 0) - score(8, 0))).toBeGreaterThan(1e-3);
    });
  });

  it('turns back what it turned', () => {
    k.scope(() => {
      const x = k.tensor(normal(random(3), [2, 9, 3, 10]).data, [2, 9, 3, 10]);
      const options = { convention: 'interleaved', rotaryDim: 6, offset: 7 } as const;
      const { dx } = k.ropeBackward({ dy: k.rope({ x, ...options }), ...options });
      expect(relativeError(dx.data, x.data)).toBeLessThan(3e-7);
    });
  });

  it('leaves positions within the original length as they are where scaling is dynamic', () => {
    k.scope(() => {
      const x = k.tensor(normal(random(4), [1, 40, 1, 16]).data, [1, 40, 1, 16]);
      const scaling = { type: 'dynamic', factor: 4, originalMaxLength: 32 } as const;
      const [plain, scaled] = [k.rope({ x }).data, k.rope({ x, scaling }).data];
      expect([...scaled.subarray(0, 32 * 16)]).toEqual([...plain.subarray(0, 32 * 16)]);
      expect(scaled[33 * 16 + 7]).not.toBe(plain[33 * 16 + 7]);
    });
  });

  it('refuses what does not fit', () => {
    k.scope(() => {
      const x = k.zeros([1, 3, 1, 5]);
      expect(() => k.rope({ x })).toThrow(
        'rope: rotaryDim must be an even number from 2 to headDim = 5, got 5',
      );
      expect(() => k.rope({ x, rotaryDim: 6 })).toThrow('rope: rotaryDim must be');
      expect(() => k.rope({ x, rotaryDim: 4, offset: -1 })).toThrow('rope: offset must be a whole number');
      expect(() => k.rope({ x, rotaryDim: 4, base: NaN })).toThrow('rope: base must be a finite number');
      expect(() => k.rope({ x, rotaryDim: 4, positions: k.zeros([2], 'int32') })).toThrow(
        'rope: positions must be [seqLen] = [3], got [2]',
      );
      expect(() => k.rope({ x, rotaryDim: 4, offset: 1, positions: k.zeros([3], 'int32') })).toThrow(
        'rope: offset must be absent where positions are given, got 1',
      );
      const scaled = (scaling: object) => () => k.rope({ x, rotaryDim: 2, scaling: scaling as RopeScaling });
      expect(scaled({ type: 'longrope' })).toThrow(
        'rope: scaling.type must be one of linear, llama3, yarn, dynamic, got',
      );
      expect(scaled({ type: 'linear' })).toThrow('rope: scaling.factor must be a finite number from');
      expect(scaled({ type: 'linear', factor: 2, theta: 1 })).toThrow(
        "rope: scaling: 'theta' is not an option",
      );
      expect(scaled({ type: 'linear', factor: 2, betaFast: 1 })).toThrow(
        'rope: scaling.betaFast must be absent for linear scaling, got 1',
      );
      expect(scaled({ type: 'yarn', factor: 2 })).toThrow('rope: scaling.originalMaxLength must be a whole');
      expect(scaled({ type: 'yarn', factor: 2, originalMaxLength: 9, betaFast: 1 })).toThrow(
        'rope: scaling.betaFast must be above betaSlow = 1, got 1',
      );
      expect(scaled({ type: 'dynamic', factor: 2, originalMaxLength: 9 })).toThrow(
        'rope: rotaryDim must be above 2 for dynamic scaling, got 2',
      );
      expect(() => k.ropeBackward({ dy: k.zeros([3, 1, 4]) })).toThrow(
        'ropeBackward: dy must be [batch, seqLen, nHeads, headDim]',
      );
    });
  });
});
