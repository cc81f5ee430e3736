import { type Case, normal, type Size } from './case.ts';

const sizes: Size[] = [{ size: 1 }, { size: 7 }, { size: 64 }, { size: 1029 }];
const shape = ({ size }: Size) => [Number(size)];

/** A function of `x` alone. */
const unary = (op: string, gradientTolerance = 1e-6): Case => ({
  op,
  sizes,
  inputs: (size, rng) => ({ x: normal(rng, shape(size), 3) }),
  tolerance: 1e-6,
  backward: { tolerance: gradientTolerance, inputs: ['x'], outputs: ['y'] },
});

/** A function of `a` and `b`. */
const binary = (op: string): Case => ({
  op,
  sizes,
  inputs: (size, rng) => ({ a: normal(rng, shape(size)), b: normal(rng, shape(size)) }),
  tolerance: 1e-7,
  backward: { tolerance: 1e-6, inputs: ['a', 'b'], outputs: ['y'] },
});

export const activationCases: Case[] = [
  unary('silu'),
  { ...unary('gelu'), title: 'gelu with erf' },
  {
    ...unary('gelu'),
    title: 'gelu with tanh',
    inputs: (size, rng) => ({ x: normal(rng, shape(size), 3), approximate: 'tanh' }),
  },
  unary('softplus'),
  unary('logSigmoid'),
  unary('sigmoid'),
  unary('tanh'),
  unary('relu'),
  unary('elu1'),
  unary('exp'),
  unary('negate'),
  binary('add'),
  binary('multiply'),
];
