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

const scalings = {
  linear: { type: 'linear', factor: 2.5 },
  llama3: { type: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxLength: 64 },
  yarn: { type: 'yarn', factor: 4, originalMaxLength: 256 },
  'yarn, all given': {
    type: 'yarn', factor: 3, originalMaxLength: 100, betaFast: 8, betaSlow: 0.5, attentionFactor: 0.7, truncate: false,
  }, // prettier-ignore
  dynamic: { type: 'dynamic', factor: 2, originalMaxLength: 50 },
} as const;

/** Frequencies from those that are kept to those that are divided, at positions within a stretched context. */
const scaled: Case = {
  ...rope('half'),
  title: 'rope scaled',
  sizes: Object.keys(scalings).flatMap((rule): Size[] => [
    { rule, batch: 2, seqLen: 70, nHeads: 1, headDim: 18, rotaryDim: 16, offset: 20 },
    { rule, batch: 1, seqLen: 3, nHeads: 2, headDim: 12, positions: true, convention: 'interleaved' },
  ]),
  inputs: ({ rule, ...size }, rng) => ({
    ...rope('half').inputs(size, rng),
    scaling: scalings[rule as keyof typeof scalings],
  }),
};

export const ropeCases: Case[] = [rope('half'), rope('interleaved'), scaled];
