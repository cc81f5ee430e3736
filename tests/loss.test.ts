import { random } from '@freelunch/random';
import { describe, expect, it } from 'vitest';
import { integers, normal } from './cases/case.ts';
import { relativeError } from './compare.ts';
import { guarded } from './kernels.ts';

describe.each(guarded)('%s', (_variant, k) => {
  it('is ln(vocabSize) for equal logits', () => {
    k.scope(() => {
      const { loss } = k.crossEntropy({
        logits: k.zeros([3, 32000]),
        targets: k.tensor(Int32Array.of(0, 7, 31999)),
      });
      expect(loss.data[0]).toBeCloseTo(Math.log(32000), 5);
    });
  });

  it('is 0 with gradients 0 if no row is scored', () => {
    k.scope(() => {
      const logits = k.tensor([1, 2, 3, 4], [2, 2]);
      const ignored = { logits, targets: k.tensor(Int32Array.of(-100, -100)) };
      const masked = { logits, targets: k.tensor(Int32Array.of(0, 1)), mask: k.zeros([2], 'int32') };
      for (const args of [ignored, masked]) {
        const { loss, logSumExp } = k.crossEntropy(args);
        expect([...loss.data, ...logSumExp.data]).toEqual([0, 0, 0]);
        expect([...k.crossEntropyBackward(args).dlogits.data]).toEqual([0, 0, 0, 0]);
      }
    });
  });

  it('stays exact where logits are huge, or exclude classes', () => {
    k.scope(() => {
      const huge = k.crossEntropy({
        logits: k.tensor([1e4, -1e4, 9999], [1, 3]),
        targets: k.tensor(Int32Array.of(0)),
      });
      expect(huge.loss.data[0]).toBeCloseTo(Math.log1p(Math.exp(-1)), 6);
      const args = { logits: k.tensor([0, -Infinity, 0], [1, 3]), targets: k.tensor(Int32Array.of(2)) };
      expect(k.crossEntropy(args).loss.data[0]).toBeCloseTo(Math.log(2), 6);
      expect([...k.crossEntropyBackward(args).dlogits.data]).toEqual([0.5, 0, -0.5]);
    });
  });

  it('gives the same gradient with logSumExp and without', () => {
    k.scope(() => {
      for (const scale of [1, 100]) {
        const logits = k.tensor(normal(random(0), [4, 5, 203], scale).data, [4, 5, 203]);
        const args = { logits, targets: k.tensor(integers(random(1), [4, 5], 203).data, [4, 5]) };
        const dloss = k.tensor([0.5]);
        const { logSumExp } = k.crossEntropy(args);
        const plain = k.crossEntropyBackward({ ...args, dloss }).dlogits.data;
        const reused = k.crossEntropyBackward({ ...args, dloss, logSumExp }).dlogits.data;
        expect(relativeError(reused, plain)).toBeLessThan(2e-6);
      }
    });
  });

  it('names the target that is out of range, but for those that are not scored', () => {
    k.scope(() => {
      const logits = k.zeros([1, 2, 5]);
      const targets = k.tensor(Int32Array.of(1, 5), [1, 2]);
      expect(() => k.crossEntropy({ logits, targets })).toThrow(
        'crossEntropy: targets[0, 1] must be a class from 0 to 4, or ignoreIndex = -100, got 5',
      );
      expect(k.crossEntropy({ logits, targets, ignoreIndex: 5 }).loss.data[0]).toBeCloseTo(Math.log(5), 6);
      const mask = k.tensor(Int32Array.of(1, 0), [1, 2]);
      expect(k.crossEntropy({ logits, targets, mask }).loss.data[0]).toBeCloseTo(Math.log(5), 6);
    });
  });

  it('refuses what does not fit', () => {
    k.scope(() => {
      const logits = k.zeros([2, 5]);
      const targets = k.zeros([2], 'int32');
      expect(() => k.crossEntropy({ logits, targets: k.zeros([3], 'int32') })).toThrow(
        'crossEntropy: targets must be [2], got [3]',
      );
      expect(() => k.crossEntropy({ logits, targets: k.zeros([2]) })).toThrow(
        'crossEntropy: targets must be int32',
      );
      expect(() => k.crossEntropy({ logits, targets, mask: k.zeros([2, 5], 'int32') })).toThrow(
        'mask must be [2]',
      );
      expect(() => k.crossEntropy({ logits, targets, ignoreIndex: 0.5 })).toThrow(
        'ignoreIndex must be a whole number',
      );
      expect(() => k.crossEntropy({ logits, targets, reduction: 'max' as 'sum' })).toThrow(
        "reduction must be one of none, sum, mean, got 'max'",
      );
      expect(() => k.crossEntropyBackward({ logits, targets, dloss: k.zeros([2]) })).toThrow(
        'crossEntropyBackward: dloss must be [1], got [2]',
      );
    });
  });
});
