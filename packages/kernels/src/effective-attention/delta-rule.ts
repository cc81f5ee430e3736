import { Check } from '../check.js';
import type { Context } from '../context.js';
import { deltaRule, type DeltaRuleArgs, gatedDeltaRule, type GatedDeltaRuleArgs } from '../delta-rule.js';
import type { Tensor } from '../tensor.js';
import { causalMatrix } from './through-kernel.js';

/**
 * The effective attention matrix of {@link deltaRule}:
 * `M[i, j] = scale q_i (I - beta_i k_i k_i^T) ... (I - beta_(j+1) k_(j+1) k_(j+1)^T) beta_j k_j` for j <= i.
 *
 * @param args those of `deltaRule`; values and the initial state are not part of the matrix
 * @returns `[batch, nHeads, seqLen, seqLen]`
 */
export function deltaRuleMatrix(context: Context, args: Omit<DeltaRuleArgs, 'v'>): Tensor<'float32'> {
  const check = new Check('effectiveAttention', context);
  check.float32('q', args.q, ['batch', 'seqLen', 'nHeads', 'dKey']);
  return causalMatrix(context, args.q, (v) => deltaRule(context, { ...args, v, initialState: undefined }).o);
}

/** The effective attention matrix of {@link gatedDeltaRule}: as {@link deltaRuleMatrix}, decayed from j to i. */
export function gatedDeltaRuleMatrix(
  context: Context,
  args: Omit<GatedDeltaRuleArgs, 'v'>,
): Tensor<'float32'> {
  const check = new Check('effectiveAttention', context);
  check.float32('q', args.q, ['batch', 'seqLen', 'nHeads', 'dKey']);
  return causalMatrix(
    context,
    args.q,
    (v) => gatedDeltaRule(context, { ...args, v, initialState: undefined }).o,
  );
}
