import { limits } from '../limits.js';
import { type Kind, valueDimOf } from './kind.js';

/**
 * Gated DeltaNet as Qwen3-Next has it (Yang et al. 2024, arXiv:2412.06464): short convolutions of queries, keys and values,
 * fewer heads of keys than of values, decays as those of Mamba-2, and a gated norm of each head.
 */
export interface GatedDeltaNetConfig {
  type: 'gated-delta-net';
  /** Heads of queries and keys. */
  nKeyHeads: number;
  /** Heads of values, a multiple of nKeyHeads; nKeyHeads if absent. */
  nValueHeads?: number;
  /** Width of a head's queries and keys; dModel / nKeyHeads if absent. */
  headDim?: number;
  /** Width of a head's values; headDim if absent. */
  valueDim?: number;
  /** Width of the causal convolutions; 4 if absent, 0 for none. */
  dConv?: number;
  /** Epsilon of the gated norm; that of the model's norms if absent. */
  normEps?: number;
}

export type ResolvedGatedDeltaNet = Required<GatedDeltaNetConfig>;

export const gatedDeltaNet: Kind<GatedDeltaNetConfig, ResolvedGatedDeltaNet> = {
  options: ['type', 'nKeyHeads', 'nValueHeads', 'headDim', 'valueDim', 'dConv', 'normEps'],
  resolve(p, { dModel, eps }) {
    const nKeyHeads = p.needed('nKeyHeads', limits.nHeads);
    const nValueHeads = p.whole('nValueHeads', nKeyHeads, 1, limits.nHeads);
    if (nValueHeads % nKeyHeads !== 0) p.fail('nValueHeads', `a multiple of nKeyHeads = ${nKeyHeads}`);
    const given = p.whole('headDim', undefined, 1, Math.floor(limits.size / nKeyHeads));
    if (given === undefined && dModel % nKeyHeads !== 0)
      p.fail('nKeyHeads', `a divisor of dModel = ${dModel}, or headDim given`);
    const headDim = given ?? dModel / nKeyHeads;
    return {
      type: 'gated-delta-net',
      nKeyHeads,
      nValueHeads,
      headDim,
      valueDim: valueDimOf(p, nValueHeads, headDim),
      dConv: p.whole('dConv', 4, 0, limits.dConv),
      normEps: p.eps('normEps', eps),
    };
  },
};
