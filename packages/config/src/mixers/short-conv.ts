import { limits } from '../limits.js';
import type { Kind } from './kind.js';

/**
 * A gated short convolution (Liquid AI 2025, LFM2, arXiv:2511.23404): `out(c * conv(b * x))`, where b, c and x are thirds of
 * one projection.
 */
export interface ShortConvConfig {
  type: 'short-conv';
  /** Width of the causal convolution; 3 if absent. */
  dConv?: number;
  /** Bias of the projections and of the convolution; false if absent. */
  bias?: boolean;
}

export type ResolvedShortConv = Required<ShortConvConfig>;

export const shortConv: Kind<ShortConvConfig, ResolvedShortConv> = {
  options: ['type', 'dConv', 'bias'],
  resolve: (p) => ({
    type: 'short-conv',
    dConv: p.whole('dConv', 3, 1, limits.dConv),
    bias: p.flag('bias', false),
  }),
};
