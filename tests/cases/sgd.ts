import { type Case, type HostArgs, normal } from './case.ts';

const sgd = (title: string, options: HostArgs, moving: boolean): Case => ({
  op: 'sgd',
  title: `sgd ${title}`,
  sizes: [{ size: 1 }, { size: 7 }, { size: 32 }, { size: 1029 }],
  inputs: ({ size }, rng) => ({
    parameter: normal(rng, [Number(size)]),
    gradient: normal(rng, [Number(size)]),
    velocity: moving ? normal(rng, [Number(size)]) : undefined,
    learningRate: 0.1,
    ...options,
  }),
  tolerance: 1e-6,
  updates: moving ? ['parameter', 'velocity'] : ['parameter'],
});

export const sgdCases: Case[] = [
  sgd('with momentum', { momentum: 0.9 }, true),
  sgd('with momentum and decay', { momentum: 0.5, weightDecay: 0.3 }, true),
  sgd('plain', {}, false),
  sgd('plain with decay', { weightDecay: 0.1 }, false),
];
