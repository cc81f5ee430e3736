import type { Filled } from '../filled.js';
import { limits } from '../limits.js';
import { headsOf, type Kind } from './kind.js';

/** DeltaNet: a state that is corrected, not only added to (Schlag et al. 2021; Yang et al. 2024). */
export interface DeltaRuleConfig {
  type: 'delta-rule';
  nHeads: number;
  headDim?: number;
  /** Whether a forget factor per head and token is learned too; false if absent. */
  gated?: boolean;
  /** Width of a causal convolution with SiLU of queries, keys and values; 0, none, if absent. */
  dConv?: number;
}

export type ResolvedDeltaRule = Filled<DeltaRuleConfig>;

export const deltaRule: Kind<DeltaRuleConfig, ResolvedDeltaRule> = {
  options: ['type', 'nHeads', 'headDim', 'gated', 'dConv'],
  resolve: (p, { dModel }) => ({
    type: 'delta-rule',
    ...headsOf(p, dModel),
    gated: p.flag('gated', false),
    dConv: p.whole('dConv', 0, 0, limits.dConv),
  }),
};
