import type { Op } from '../arguments.js';
import type { Context } from '../context.js';
import * as deltaRule from '../delta-rule.js';
import * as linearAttention from '../linear-attention.js';
import * as mamba3 from '../mamba3.js';
import * as selectiveScan from '../selective-scan.js';
import * as softmaxAttention from '../softmax-attention.js';
import * as ssd from '../ssd.js';
import type { Tensor } from '../tensor.js';
import { deltaRuleMatrix, gatedDeltaRuleMatrix } from './delta-rule.js';
import { linearAttentionMatrix } from './linear-attention.js';
import { mamba3Matrix } from './mamba3.js';
import { selectiveScanMatrix } from './selective-scan.js';
import { softmaxAttentionMatrix } from './softmax-attention.js';
import { ssdMatrix } from './ssd.js';

/** A mixer's matrix takes what the mixer takes: arguments that it does not depend on are allowed, and ignored. */
function matrixOp<Args>(
  run: (k: Context, args: Args) => Tensor<'float32'>,
  mixer: { readonly args: Op<never, unknown>['args'] },
): Op<Args, Tensor<'float32'>> {
  return { run, args: mixer.args };
}

/** The mixers that have a matrix. */
export const effectiveAttentionOps = {
  selectiveScan: matrixOp(selectiveScanMatrix, selectiveScan.ops.selectiveScan),
  ssd: matrixOp(ssdMatrix, ssd.ops.ssd),
  mamba3: matrixOp(mamba3Matrix, mamba3.ops.mamba3),
  linearAttention: matrixOp(linearAttentionMatrix, linearAttention.ops.linearAttention),
  deltaRule: matrixOp(deltaRuleMatrix, deltaRule.ops.deltaRule),
  gatedDeltaRule: matrixOp(gatedDeltaRuleMatrix, deltaRule.ops.gatedDeltaRule),
  softmaxAttention: matrixOp(softmaxAttentionMatrix, softmaxAttention.ops.softmaxAttention),
};

/** What each mixer's matrix depends on: the arguments of its function; values may be left out where they do not matter. */
export type MixerArgs = {
  [Mixer in keyof typeof effectiveAttentionOps]: (typeof effectiveAttentionOps)[Mixer] extends Op<
    infer Args,
    unknown
  >
    ? Args
    : never;
};
