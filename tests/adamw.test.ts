import { describe, expect, it } from 'vitest';
import { guarded } from './kernels.ts';

describe.each(guarded)('%s', (_variant, k) => {
  it('finds the minimum of a parabola', () => {
    k.scope(() => {
      const parameter = k.tensor([5, -3, 0.5]);
      const m = k.zeros([3]);
      const v = k.zeros([3]);
      for (let step = 1; step <= 500; step++) {
        k.scope(() => {
          const gradient = k.tensor(parameter.data.map((p) => 2 * (p - 1)));
          k.adamW({ parameter, gradient, m, v, step, learningRate: 0.05, weightDecay: 0 });
        });
      }
      for (const p of parameter.data) expect(p).toBeCloseTo(1, 2);
    });
  });

  it('leaves a parameter without gradient to its decay', () => {
    k.scope(() => {
      const args = { gradient: k.zeros([2]), m: k.zeros([2]), v: k.zeros([2]), step: 1, learningRate: 0.5 };
      const parameter = k.tensor([4, -8]);
      k.adamW({ parameter, ...args, weightDecay: 0.5 });
      expect([...parameter.data]).toEqual([3, -6]);
    });
  });

  it('leaves a parameter to its decay once a gradient is too large to be squared, and clipped gradients are not', () => {
    k.scope(() => {
      // A whole vector and a rest. (1 - beta2) gradient^2 is 2.5e38, then 3.6e38.
      const gradients = [5e20, -5e20, 6e20, -6e20, 5e20, -6e20];
      const options = { learningRate: 0.5, weightDecay: 0.5 };
      const made = () => ({ parameter: k.tensor(gradients.map(() => 4)), m: k.zeros([6]), v: k.zeros([6]) });
      const { parameter, m, v } = made();
      k.adamW({ parameter, m, v, gradient: k.tensor(gradients), step: 1, ...options });
      expect([...parameter.data]).toEqual([2.5, 3.5, 3, 3, 2.5, 3]);
      expect([...v.data].map(Number.isFinite)).toEqual([true, true, false, false, true, false]);
      const gradient = k.tensor(gradients.map(() => 1));
      k.adamW({ parameter, m, v, gradient, step: 2, ...options });
      for (const i of [2, 3, 5]) expect([parameter.data[i], v.data[i]]).toEqual([2.25, Infinity]);

      const clipped = k.tensor(gradients);
      k.clipGradNorm({ tensors: [clipped], maxNorm: 1 });
      const other = made();
      k.adamW({ ...other, gradient: clipped, step: 1, ...options });
      expect([...other.v.data].every(Number.isFinite)).toBe(true);
      other.parameter.data.forEach((value, i) => expect(value).toBeCloseTo(gradients[i] > 0 ? 2.5 : 3.5, 6));
    });
  });

  it('changes nothing if an argument is refused', () => {
    k.scope(() => {
      const parameter = k.tensor([1, 2]);
      const [gradient, m, v] = [k.tensor([1, 1]), k.zeros([2]), k.zeros([2])];
      const args = { parameter, gradient, m, v, step: 1, learningRate: 0.1 };
      expect(() => k.adamW({ ...args, step: 0 })).toThrow('adamW: step must be a whole number from 1');
      expect(() => k.adamW({ ...args, learningRate: NaN })).toThrow(
        'adamW: learningRate must be a finite number',
      );
      expect(() => k.adamW({ ...args, beta2: 1 })).toThrow(
        'adamW: beta2 must be a number from 0 up, below 1, got 1',
      );
      expect(() => k.adamW({ ...args, eps: 0 })).toThrow('adamW: eps must be');
      expect(() => k.adamW({ ...args, weightDecay: -1 })).toThrow('adamW: weightDecay must be');
      expect(() => k.adamW({ ...args, v: k.zeros([3]) })).toThrow('adamW: v must be [2], got [3]');
      expect([...parameter.data, ...m.data, ...v.data]).toEqual([1, 2, 0, 0, 0, 0]);
    });
  });

  it('measures the norm over all tensors, also where squares overflow float32', () => {
    k.scope(() => {
      const odd = k.tensor(new Float32Array(13).fill(2));
      expect(k.globalNorm({ tensors: [k.tensor([3]), odd, k.tensor([-4], [1, 1])] })).toBeCloseTo(
        Math.sqrt(77),
        12,
      );
      expect(k.globalNorm({ tensors: [k.tensor([3e30, 4e30])] }) / 5e30).toBeCloseTo(1, 6);
      expect(k.globalNorm({ tensors: [] })).toBe(0);
      const many = k.tensor(new Float32Array(1000003).fill(0.1));
      expect(k.globalNorm({ tensors: [many] })).toBeCloseTo(Math.fround(0.1) * Math.sqrt(1000003), 9);
    });
  });

  it('scales gradients down to maxNorm, and no others', () => {
    k.scope(() => {
      const tensors = [k.tensor([3, 0, 0, 0, 0]), k.tensor([4])];
      expect(k.clipGradNorm({ tensors, maxNorm: 6 })).toBe(5);
      expect(tensors.map(({ data }) => data[0])).toEqual([3, 4]);
      expect(k.clipGradNorm({ tensors, maxNorm: 1 })).toBe(5);
      const after = tensors.map(({ data }) => data[0]);
      expect(after[0]).toBeCloseTo(0.6, 6);
      expect(after[1]).toBeCloseTo(0.8, 6);
      expect(() => k.clipGradNorm({ tensors, maxNorm: 0 })).toThrow('clipGradNorm: maxNorm must be');
      expect(() => k.globalNorm({ tensors: [k.zeros([1], 'int32')] as never })).toThrow(
        'globalNorm: tensors[0] must be float32, got int32',
      );
    });
  });

  it('keeps all digits of gradients whose norm is beyond float32', () => {
    k.scope(() => {
      const large = k.tensor(new Float32Array(10000).fill(3e38));
      expect(k.clipGradNorm({ tensors: [large], maxNorm: 0.5 }) / 3e40).toBeCloseTo(1, 6);
      expect(large.data[0] / 0.005).toBeCloseTo(1, 6);
      expect(large.data[9999]).toBe(large.data[0]);
    });
  });

  it('changes nothing if the norm is NaN or infinite', () => {
    k.scope(() => {
      for (const value of [NaN, Infinity]) {
        const tensors = [k.tensor([value, 2])];
        expect(k.clipGradNorm({ tensors, maxNorm: 1 })).toBe(value);
        expect([...tensors[0].data]).toEqual([value, 2]);
      }
    });
  });
});
