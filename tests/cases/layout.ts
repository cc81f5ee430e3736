import { type Case, normal } from './case.ts';

export const layoutCases: Case[] = [
  {
    op: 'split',
    sizes: [
      { rows: 1, a: 1, b: 1 },
      { rows: 7, a: 3, b: 6 },
      { rows: 5, a: 64, b: 17 },
    ],
    inputs: ({ rows, a, b }, rng) => ({
      x: normal(rng, [Number(rows), Number(a) + Number(b)]),
      sizes: [Number(a), Number(b)],
    }),
    tolerance: 0,
  },
  {
    op: 'accumulate',
    sizes: [{ size: 1 }, { size: 15 }, { size: 16 }, { size: 1029 }],
    inputs: ({ size }, rng) => ({ target: normal(rng, [Number(size)]), source: normal(rng, [Number(size)]) }),
    updates: ['target'],
    tolerance: 1e-7,
  },
];
