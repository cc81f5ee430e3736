import { describe, expect, it } from 'vitest';
import { guarded } from './kernels.ts';

describe.each(guarded)('%s', (_variant, k) => {
  it('names the id that is out of range, and its place', () => {
    k.scope(() => {
      const weight = k.zeros([4, 2]);
      const ids = (...data: number[]) => k.tensor(Int32Array.from(data), [2, 2]);
      expect(() => k.embedding({ ids: ids(0, 3, 4, 1), weight })).toThrow(
        'embedding: ids[1, 0] must be a row of weight, from 0 to 3, got 4',
      );
      expect(() => k.embedding({ ids: ids(0, -1, 0, 0), weight })).toThrow('embedding: ids[0, 1] must be');
      expect(() => k.embedding({ ids: k.zeros([2]), weight })).toThrow(
        'embedding: ids must be int32, got float32',
      );
      expect(() => k.embeddingBackward({ ids: ids(0, 1, 2, 3), weight, dy: k.zeros([2, 2, 3]) })).toThrow(
        'embeddingBackward: dy must be [2, 2, 2], got [2, 2, 3]',
      );
    });
  });

  it('takes one id as well as many', () => {
    k.scope(() => {
      const weight = k.tensor([1, 2, 3, 4], [2, 2]);
      const y = k.embedding({ ids: k.tensor(Int32Array.of(1), []), weight });
      expect(y.shape).toEqual([2]);
      expect([...y.data]).toEqual([3, 4]);
    });
  });
});
