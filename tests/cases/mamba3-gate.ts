import type { Random } from '@freelunch/random';
import { type Case, type HostArgs, normal, type Size } from './case.ts';

function inputs(size: Size, rng: Random): HostArgs {
  const [nHeads, nRanks, headDim] = [size.nHeads, size.nRanks, size.headDim].map(Number);
  const leading = [size.batch, size.seqLen].filter((axis) => axis !== undefined).map(Number);
  const ranks = [nHeads, nRanks, headDim];
  return {
    x: normal(rng, [...leading, ...ranks]),
    z: normal(rng, [...leading, nHeads, headDim]),
    weight: size.norm === true ? normal(rng, [nHeads * headDim]) : undefined,
    eps: size.norm === true ? 0.1 : undefined,
    mimoZ: size.mixed === true ? normal(rng, ranks) : undefined,
    mimoO: size.mixed === true ? normal(rng, ranks) : undefined,
  };
}

export const mamba3GateCases: Case[] = [
  {
    op: 'mamba3Gate',
    // prettier-ignore
    sizes: [
      { batch: 1, nHeads: 1, nRanks: 1, headDim: 1 },
      { batch: 2, seqLen: 3, nHeads: 3, nRanks: 1, headDim: 5, norm: true },
      { batch: 2, nHeads: 2, nRanks: 3, headDim: 6, mixed: true },
      { batch: 1, seqLen: 5, nHeads: 2, nRanks: 2, headDim: 11, norm: true, mixed: true },
      { batch: 3, seqLen: 2, nHeads: 2, nRanks: 4, headDim: 4, norm: true },
    ],
    inputs,
    tolerance: 1e-6,
    backward: { tolerance: 1e-5, inputs: ['x', 'z', 'weight', 'mimoZ', 'mimoO'], outputs: ['y'] },
  },
];
