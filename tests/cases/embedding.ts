import { type Case, integers, normal, quantized } from './case.ts';

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
  ...(['float16', 'bfloat16', 'int8', 'int4'] as const).map((dtype): Case => ({
    op: 'embedding',
    title: `embedding of ${dtype}`,
    sizes: [
      { count: 1, vocabSize: 1, dModel: 32 },
      { count: 40, vocabSize: 7, dModel: 64 },
      { count: 9, vocabSize: 5, dModel: dtype.startsWith('int') ? 96 : 39 },
    ],
    inputs: ({ count, vocabSize, dModel }, rng) => ({
      ids: integers(rng, [Number(count)], Number(vocabSize)),
      weight: quantized(rng, [Number(vocabSize), Number(dModel)], dtype),
    }),
    tolerance: 0,
    forwardOnly: true,
  })),
];
