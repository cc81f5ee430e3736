import { type Case, normal, type Size } from './case.ts';

const sizes: Size[] = [
  { batch: 1, seqLen: 1, nHeads: 1, headDim: 2 },
  { batch: 2, seqLen: 5, nHeads: 3, headDim: 6, rotaryDim: 2 },
  { batch: 1, seqLen: 7, nHeads: 2, headDim: 14, rotaryDim: 10, base: 100 },
  { batch: 2, seqLen: 3, nHeads: 1, headDim: 9, rotaryDim: 6, positions: true },
  { batch: 1, seqLen: 70, nHeads: 2, headDim: 8, offset: 4090 }, // past two computed angles
];

const rope = (convention: 'half' | 'interleaved'): Case => ({
  op: 'rope',
  title: `rope ${convention}`,
  sizes,
  inputs: ({ batch, seqLen, nHeads, headDim, positions, ...options }, rng) => ({
    x: normal(rng, [Number(batch), Number(seqLen), Number(nHeads), Number(headDim)]),
    convention,
    ...(positions === true && {
      positions: { shape: [Number(seqLen)], data: Int32Array.from([-3, 100000, 7]) },
    }),
    ...options,
  }),
  tolerance: 2e-7,
  backward: { tolerance: 1e-6, inputs: ['x'], outputs: ['y'] },
});

export const ropeCases: Case[] = [rope('half'), rope('interleaved')];
