import { concat } from '@freelunch/kernels/reference';
import { random } from '@freelunch/random';
import { expect, it } from 'vitest';
import { normal } from './cases/case.ts';
import { guarded } from './kernels.ts';

it.each(guarded)('%s: puts parts side by side, and split takes them apart again', (_variant, k) => {
  const rng = random(0);
  const parts = [3, 1, 8].map((size) => normal(rng, [2, 5, size]));
  const want = concat({ parts: parts.map(({ shape, data }) => ({ shape, data: Float64Array.from(data) })) });
  k.scope(() => {
    const y = k.concat({ parts: parts.map(({ shape, data }) => k.tensor(data, shape)) });
    expect(y.shape).toEqual(want.shape);
    expect([...y.data]).toEqual([...want.data]);
    const again = k.split({ x: y, sizes: [3, 1, 8] });
    again.forEach((part, i) => expect([...part.data]).toEqual([...parts[i].data]));
    k.checkGuards();
  });
});

it.each(guarded)(
  '%s: refuses sizes that do not add up, no parts, and parts that do not fit',
  (_variant, k) => {
    k.scope(() => {
      expect(() => k.split({ x: k.zeros([2, 5]), sizes: [2, 2] })).toThrow(
        'split: x must be [..., 4], the sum of sizes, got [2, 5]',
      );
      expect(() => k.split({ x: k.zeros([2, 5]), sizes: [5, 0] })).toThrow(
        'split: sizes[1] must be a whole number from 1',
      );
      expect(() => k.concat({ parts: [] })).toThrow('concat: parts must be one tensor or more, got 0');
      expect(() => k.concat({ parts: [k.zeros([2, 1]), k.zeros([3, 1])] })).toThrow(
        'concat: parts[1] must be [2, size1]',
      );
      expect(() => k.accumulate({ target: k.zeros([2]), source: k.zeros([3]) })).toThrow(
        'accumulate: source must be [2], got [3]',
      );
    });
  },
);
