import { give, giveIntegers, type GoldenRunner, take } from './golden.ts';

export const embeddingRunners: Record<string, GoldenRunner> = {
  embedding: (k, golden) => {
    const args = { ids: giveIntegers(k, golden, 'in.ids'), weight: give(k, golden, 'in.weight')! };
    return {
      'out.y': take(k.embedding(args)),
      'grad.weight': take(k.embeddingBackward({ ...args, dy: give(k, golden, 'up.y')! }).dweight),
    };
  },
};
