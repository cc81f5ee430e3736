import { Check } from '../check.js';
import type { Context } from '../context.js';
import { softmaxAttention } from '../softmax-attention.js';
import { eachStage } from '../softmax-attention-parts.js';
import { checkAttention, type SoftmaxAttentionArgs } from '../softmax-attention-passes.js';
import type { Tensor } from '../tensor.js';

/** Nanoseconds per multiplication and addition of a score. */
const ROW_MADD_NS = 0.1;

/**
 * The matrix of softmax attention, `M[t,j] = e^(s[t,j] - logSumExp[t])`, zero where query t does not see key j.
 *
 * @returns `[batch, nHeads, qLen, kLen]`
 */
export function softmaxAttentionMatrix(context: Context, args: SoftmaxAttentionArgs): Tensor<'float32'> {
  const { q, k, alibiSlopes } = args;
  const plan = checkAttention(new Check('effectiveAttention', context), args);
  const [batch, qLen, nHeads, headDim] = q.shape;
  const [, kLen, nKvHeads] = k.shape;
  return context.scope(() => {
    const { logSumExp } = softmaxAttention(context, args);
    const matrix = context.zeros([batch, nHeads, qLen, kLen]);
    const work = { passes: plan.passes, queryOffset: () => plan.queryOffset, nHeads, nKvHeads };
    const alone = () => 1;
    eachStage(context, work, alone, ({ table, parts, units, partKeyCount }, { pairs }) => {
      // prettier-ignore
      context.run('softmaxAttentionWeights', [
        matrix.pointer, logSumExp.pointer, q.pointer, k.pointer, alibiSlopes?.pointer ?? 0, table,
        parts, qLen, kLen, nHeads, nKvHeads, headDim, plan.scale,
      ], {
        units,
        nanoseconds: pairs * headDim * ROW_MADD_NS,
        scratchBytes: context.wasm.softmaxAttentionWeightsScratchBytes(partKeyCount),
      });
    });
    return matrix;
  });
}
