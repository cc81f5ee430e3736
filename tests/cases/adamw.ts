import { type Case, type HostArgs, normal, uniform } from './case.ts';

const adamW = (title: string, options: HostArgs): Case => ({
  op: 'adamW',
  title: `adamW ${title}`,
  sizes: [{ size: 1 }, { size: 7 }, { size: 32 }, { size: 1029 }],
  inputs: ({ size }, rng) => ({
    parameter: normal(rng, [Number(size)]),
    gradient: normal(rng, [Number(size)]),
    m: normal(rng, [Number(size)], 0.1),
    v: uniform(rng, [Number(size)], 0, 0.1),
    learningRate: 0.01,
    ...options,
  }),
  tolerance: 1e-6,
  updates: ['parameter', 'm', 'v'],
});

export const adamWCases: Case[] = [
  adamW('at the first step', { step: 1 }),
  adamW('at a later step', { step: 1234, beta1: 0.8, beta2: 0.95, eps: 1e-6, weightDecay: 0.3 }),
  adamW('with L2', { step: 3, decoupled: false, weightDecay: 0.1 }),
  adamW('without decay', { step: 3, decoupled: false }),
];
