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

const parts: Size[] = [
  { rows: 1, a: 1, b: 1 },
  { rows: 7, a: 3, b: 6 },
  { rows: 5, a: 64, b: 17 },
];

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
  unary('relu2'),
  unary('elu1'),
  unary('exp'),
  unary('negate'),
  binary('add'),
  binary('multiply'),
  {
    ...unary('scale'),
    inputs: (size, rng) => ({ x: normal(rng, shape(size)), factor: -1.7, offset: 0.3 }),
  },
  {
    ...unary('scale'),
    title: 'scale in parts',
    sizes: parts,
    inputs: ({ rows, a, b }, rng) => ({
      x: normal(rng, [Number(rows), Number(a) + Number(b)]),
      factor: [0.3, -2],
      sizes: [Number(a), Number(b)],
    }),
  },
];
