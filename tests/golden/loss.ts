import { give, giveIntegers, type GoldenRunner, take } from './golden.ts';

export const lossRunners: Record<string, GoldenRunner> = {
  cross_entropy: (k, golden) => {
    const args = {
      logits: give(k, golden, 'in.logits')!,
      targets: giveIntegers(k, golden, 'in.labels'),
      ignoreIndex: golden.config.ignore_index,
      reduction: golden.config.reduction as unknown as 'mean' | 'sum' | 'none',
    };
    const { loss, logSumExp } = k.crossEntropy(args);
    const dloss = give(k, golden, 'up.loss');
    return {
      'out.loss': take(loss),
      'out.nll': take(k.crossEntropy({ ...args, reduction: 'none' }).loss),
      'grad.logits': take(k.crossEntropyBackward({ ...args, logSumExp, dloss }).dlogits),
    };
  },
};
