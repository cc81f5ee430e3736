import { type Case, integers, normal } from './case.ts';

export const embeddingCases: Case[] = [
  {
    op: 'embedding',
    sizes: [
      { batch: 1, seqLen: 1, vocabSize: 1, dModel: 1 },
      { batch: 2, seqLen: 3, vocabSize: 11, dModel: 4 },
      { batch: 3, seqLen: 40, vocabSize: 5, dModel: 7 }, // every id many times
      { batch: 1, seqLen: 9, vocabSize: 6, dModel: 39 }, // several blocks of columns
    ],
    inputs: ({ batch, seqLen, vocabSize, dModel }, rng) => ({
      ids: integers(rng, [Number(batch), Number(seqLen)], Number(vocabSize)),
      weight: normal(rng, [Number(vocabSize), Number(dModel)]),
    }),
    tolerance: 0,
    backward: { tolerance: 1e-6, inputs: ['weight'], outputs: ['y'] },
  },
];
