import { ArgumentError } from '../errors.js';
import type { Context } from '../context.js';
import type { Tensor } from '../tensor.js';
import { deltaRuleMatrix, gatedDeltaRuleMatrix } from './delta-rule.js';
import { linearAttentionMatrix } from './linear-attention.js';
import { selectiveScanMatrix } from './selective-scan.js';
import { softmaxAttentionMatrix } from './softmax-attention.js';
import { ssdMatrix } from './ssd.js';

const matrices = {
  selectiveScan: selectiveScanMatrix,
  ssd: ssdMatrix,
  linearAttention: linearAttentionMatrix,
  deltaRule: deltaRuleMatrix,
  gatedDeltaRule: gatedDeltaRuleMatrix,
  softmaxAttention: softmaxAttentionMatrix,
};

/** What each mixer's matrix depends on: the arguments of its function; values may be left out where they do not matter. */
export type MixerArgs = { [Mixer in keyof typeof matrices]: Parameters<(typeof matrices)[Mixer]>[1] };

/**
 * The effective attention matrix M of a mixer: how much of the value at step j is in the output at step i.
 *
 *   selectiveScan     y[i, d] = sum_j M[d, i, j] delta[j, d] u[j, d] + D[d] u[i, d]
 *   ssd               y[i, h] = sum_j M[h, i, j] dt[j, h] x[j, h] + D[h] x[i, h]
 *   the others        o[i, h] = sum_j M[h, i, j] v[j, h]
 *
 * The gate z, the skip D and the initial state are no part of it. Costs time and memory of the order seqLen^2: made
 * to look at, not to compute with.
 *
 * @param mixer  which mixer
 * @param args   what its function takes; values, which M does not depend on, may be left out where the type says so
 * @returns `[batch, heads or channels, seqLen, seqLen]`, zero where j lies after i if the mixer is causal
 * @throws ArgumentError for an unknown mixer, and what the mixer's own checks throw
 * @see theory: Ali et al. 2024, https://arxiv.org/abs/2403.01590; Dao & Gu 2024, https://arxiv.org/abs/2405.21060
 */
export function effectiveAttention<Mixer extends keyof MixerArgs>(
  k: Context,
  mixer: Mixer,
  args: MixerArgs[Mixer],
): Tensor<'float32'> {
  if (!Object.hasOwn(matrices, mixer)) {
    throw new ArgumentError(
      `effectiveAttention: mixer must be one of ${Object.keys(matrices).join(', ')}, got '${String(mixer)}'`,
    );
  }
  const matrix = matrices[mixer] as (k: Context, args: MixerArgs[Mixer]) => Tensor<'float32'>;
  return matrix(k, args);
}
