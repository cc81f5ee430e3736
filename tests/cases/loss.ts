import { type Case, integers, normal, type Size } from './case.ts';

const sizes: Size[] = [
  { batch: 1, seqLen: 1, vocabSize: 1 },
  { batch: 1, seqLen: 3, vocabSize: 2 },
  { batch: 2, seqLen: 4, vocabSize: 7 },
  { batch: 2, seqLen: 3, vocabSize: 50 },
  { batch: 1, seqLen: 2, vocabSize: 1039 }, // past a block, with vectors and lanes left over
];

/** `scale` 40 makes logits that a float32 exp could not hold, and a logSumExp too coarse to be used again. */
function crossEntropy(
  reduction: 'mean' | 'sum' | 'none',
  { masked = false, scale = 2 }: { masked?: boolean; scale?: number } = {},
): Case {
  return {
    op: 'crossEntropy',
    title: `crossEntropy ${reduction}${masked ? ' with mask and ignoreIndex' : ''}${scale > 2 ? ' of large logits' : ''}`,
    sizes,
    inputs: ({ batch, seqLen, vocabSize }, rng) => {
      const shape = [Number(batch), Number(seqLen)];
      const targets = integers(rng, shape, Number(vocabSize));
      const mask = integers(rng, shape, 2);
      if (masked) targets.data[targets.data.length - 1] = 3;
      return {
        logits: normal(rng, [...shape, Number(vocabSize)], scale),
        targets,
        reduction,
        ...(masked && { mask, ignoreIndex: 3 }),
      };
    },
    tolerance: 1e-6,
    backward: { tolerance: 2e-6, inputs: ['logits'], outputs: ['loss'] },
  };
}

export const lossCases: Case[] = [
  crossEntropy('mean'),
  crossEntropy('sum'),
  crossEntropy('none'),
  crossEntropy('mean', { masked: true }),
  crossEntropy('none', { masked: true }),
  crossEntropy('sum', { scale: 40 }),
];
