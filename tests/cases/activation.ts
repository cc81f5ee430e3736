import { type Case, normal } from './case.ts';

const sizes = [{ size: 1 }, { size: 7 }, { size: 64 }, { size: 1029 }];

export const activationCases: Case[] = [
  {
    op: 'silu',
    sizes,
    inputs: ({ size }, rng) => ({ x: normal(rng, [Number(size)], 3) }),
    tolerance: 1e-6,
    backward: { tolerance: 1e-6, inputs: ['x'], outputs: ['y'] },
  },
];
