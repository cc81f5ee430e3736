import type { Filled } from '../filled.js';
import { limits } from '../limits.js';
import { headsOf, type Kind, valueDimOf } from './kind.js';

/** How linear attention maps queries and keys: as they are, max(x, 0), or elu(x) + 1. */
export type FeatureMap = 'identity' | 'relu' | 'elu1';

/** Linear attention, plain or with a forget factor (Katharopoulos et al. 2020; Yang et al. 2023). */
export interface LinearAttentionConfig {
  type: 'linear-attention';
  nHeads: number;
  /** Width of a head's queries and keys; dModel / nHeads if absent. */
  headDim?: number;
  /** Width of a head's values; headDim if absent. */
  valueDim?: number;
  /** `elu1` if absent. */
  featureMap?: FeatureMap;
  /** Whether outputs are divided by the sum of the weights; true if absent and there is no forget factor. */
  normalize?: boolean;
  /** `retention`: one fixed forget factor per head; `token`: one per head and token; `channel`: one per key channel and token (GLA). */
  forget?: 'none' | 'retention' | 'token' | 'channel';
  /** Width of a causal convolution with SiLU of queries, keys and values (Yang et al. 2024); 0, none, if absent. */
  dConv?: number;
}

export type ResolvedLinearAttention = Filled<LinearAttentionConfig>;

export const linearAttention: Kind<LinearAttentionConfig, ResolvedLinearAttention> = {
  options: ['type', 'nHeads', 'headDim', 'valueDim', 'featureMap', 'normalize', 'forget', 'dConv'],
  resolve(p, { dModel }) {
    const { nHeads, headDim } = headsOf(p, dModel);
    const forget = p.oneOf('forget', 'none', 'retention', 'token', 'channel');
    return {
      type: 'linear-attention',
      nHeads,
      headDim,
      valueDim: valueDimOf(p, nHeads, headDim),
      featureMap: p.oneOf('featureMap', 'elu1', 'identity', 'relu'),
      normalize: p.flag('normalize', forget === 'none'),
      forget,
      dConv: p.whole('dConv', 0, 0, limits.dConv),
    };
  },
};
