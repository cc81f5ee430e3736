import { Check } from '../check.js';
import type { Context } from '../context.js';
import { linearAttention, type LinearAttentionArgs } from '../linear-attention.js';
import type { Tensor } from '../tensor.js';
import { causalMatrix } from './through-kernel.js';

/**
 * The effective attention matrix of {@link linearAttention}:
 * `M[i, j] = scale sum_n phi(q_i)[n] phi(k_j)[n] f_(j+1)[n] ... f_i[n]` for j <= i, divided by
 * `scale phi(q_i) . z_i + eps` if it normalises.
 *
 * @param args those of `linearAttention`; values and the initial state are not part of the matrix
 * @returns `[batch, nHeads, seqLen, seqLen]`
 */
export function linearAttentionMatrix(
  context: Context,
  args: Omit<LinearAttentionArgs, 'v'>,
): Tensor<'float32'> {
  const check = new Check('effectiveAttention', context);
  check.float32('q', args.q, ['batch', 'seqLen', 'nHeads', 'dKey']);
  return causalMatrix(
    context,
    args.q,
    (v) => linearAttention(context, { ...args, v, initialState: undefined }).o,
  );
}
