/**
 * Cross-entropy of softmax, in nats.
 *
 *   logits  [..., vocabSize]      targets, mask, logSumExp  [...]
 *   loss    [1], or [...] where reduction is 'none'
 */
import type { Array64 } from './array64.js';

/** `loss = ln(sum of e^logits) - logits[target]` for each scored row; 0 for others */
export function crossEntropy({
  logits,
  targets,
  mask,
  ignoreIndex = -100,
  reduction = 'mean',
}: {
  logits: Array64;
  targets: Array64;
  mask?: Array64;
  ignoreIndex?: number;
  reduction?: 'mean' | 'sum' | 'none';
}): { loss: Array64; logSumExp: Array64 } {
  const vocabSize = logits.shape.at(-1)!;
  const losses = new Float64Array(targets.data.length);
  const logSumExp = new Float64Array(targets.data.length);
  let scored = 0;
  for (let i = 0; i < losses.length; i++) {
    if (targets.data[i] === ignoreIndex || mask?.data[i] === 0) continue;
    const row = logits.data.subarray(i * vocabSize, (i + 1) * vocabSize);
    const top = Math.max(...row);
    let sum = 0;
    for (const logit of row) sum += Math.exp(logit - top);
    logSumExp[i] = top + Math.log(sum);
    losses[i] = logSumExp[i] - row[targets.data[i]];
    scored++;
  }
  const total = losses.reduce((a, b) => a + b, 0);
  const divisor = reduction === 'mean' ? Math.max(scored, 1) : 1;
  return {
    loss:
      reduction === 'none'
        ? { shape: targets.shape, data: losses }
        : { shape: [1], data: Float64Array.of(total / divisor) },
    logSumExp: { shape: targets.shape, data: logSumExp },
  };
}
