import { ArgumentError, loadKernels, ShapeError } from '@freelunch/kernels';
import { expect, it } from 'vitest';

const k = await loadKernels({ variant: 'simd' });

it('refuses what is out of range, and changes nothing', () => {
  k.scope(() => {
    const parameter = k.tensor([1, 2, 3]);
    const args = { parameter, gradient: k.tensor([1, 1, 1]), velocity: k.zeros([3]), learningRate: 0.1 };
    expect(() => k.sgd({ ...args, learningRate: -1 })).toThrow(ArgumentError);
    expect(() => k.sgd({ ...args, learningRate: NaN })).toThrow(ArgumentError);
    expect(() => k.sgd({ ...args, momentum: 1 })).toThrow(
      'sgd: momentum must be a number from 0 up, below 1, got 1',
    );
    expect(() => k.sgd({ ...args, weightDecay: -0.1 })).toThrow(ArgumentError);
    expect(() => k.sgd({ ...args, velocity: undefined, momentum: 0.9 })).toThrow(
      'sgd: velocity must be given with momentum, got undefined',
    );
    expect(() => k.sgd({ ...args, gradient: k.zeros([4]) })).toThrow(ShapeError);
    expect([...parameter.data]).toEqual([1, 2, 3]);
  });
});
