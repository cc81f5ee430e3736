import { Check } from '../check.js';
import type { Context } from '../context.js';
import { softmaxAttention } from '../softmax-attention.js';
import { checkAttention, eachPass, type SoftmaxAttentionArgs } from '../softmax-attention-passes.js';
import type { Tensor } from '../tensor.js';

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
    const bytes = (_: number, keyCount: number) => context.wasm.softmaxAttentionWeightsScratchBytes(keyCount);
    eachPass(context, plan.passes, bytes, (b, pass, lists) => {
      context.wasm.softmaxAttentionWeights(
        matrix.pointer + b * nHeads * qLen * kLen * 4,
        logSumExp.pointer + b * nHeads * qLen * 4,
        q.pointer + b * qLen * nHeads * headDim * 4,
        k.pointer + b * kLen * nKvHeads * headDim * 4,
        alibiSlopes?.pointer ?? 0,
        ...lists,
        pass.queries.length,
        qLen,
        kLen,
        nHeads,
        nKvHeads,
        headDim,
        plan.queryOffset,
        plan.scale,
      );
    });
    return matrix;
  });
}
