import type { Filled } from '../filled.js';
import { limits } from '../limits.js';
import { innerWidth, type Kind } from './kind.js';

/** Mamba: a selective scan between two projections (Gu & Dao 2023). */
export interface MambaConfig {
  type: 'mamba';
  /** State size N of each channel; 16 if absent. */
  dState?: number;
  /** Width of the causal convolution; 4 if absent, 0 for none. */
  dConv?: number;
  /** dInner = expand * dModel; 2 if absent. */
  expand?: number;
  /** Channels of the scan, where they are no multiple of dModel. */
  dInner?: number;
  /** Rank of the projection that makes delta; ceil(dModel / 16) if absent. */
  dtRank?: number;
  /** Bias of the input and output projections; false if absent. */
  bias?: boolean;
  /** Bias of the convolution; true if absent. */
  convBias?: boolean;
  /** RMS norms of delta (before its projection), B and C: with weights in Jamba, without in Falcon-Mamba; `none` if absent. */
  innerNorms?: 'none' | 'weighted' | 'unweighted';
  /** Their epsilon; that of the model's norms if absent. */
  innerNormEps?: number;
}

export type ResolvedMamba = Filled<Omit<MambaConfig, 'expand'>>;

export const mamba: Kind<MambaConfig, ResolvedMamba> = {
  options: [
    'type', 'dState', 'dConv', 'expand', 'dInner', 'dtRank', 'bias', 'convBias', 'innerNorms', 'innerNormEps',
  ], // prettier-ignore
  resolve: (p, { dModel, eps }) => ({
    type: 'mamba',
    dState: p.whole('dState', 16),
    dConv: p.whole('dConv', 4, 0, limits.dConv),
    dInner: innerWidth(p, dModel),
    dtRank: p.whole('dtRank', Math.ceil(dModel / 16)),
    bias: p.flag('bias', false),
    convBias: p.flag('convBias', true),
    innerNorms: p.oneOf('innerNorms', 'none', 'weighted', 'unweighted'),
    innerNormEps: p.eps('innerNormEps', eps),
  }),
};
