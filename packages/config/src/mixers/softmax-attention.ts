import type { Filled } from '../filled.js';
import { limits } from '../limits.js';
import { Part } from '../part.js';
import { type PositionConfig, type ResolvedPosition, resolvePosition } from '../position.js';
import { headsOf, type Kind, valueDimOf } from './kind.js';

/**
 * Block-sparse patterns, causal (Child et al. 2019). `strided`: keys less than `stride` back, or a multiple of it.
 * `fixed`: keys of the query's own block of `stride`, and the last `summary` keys of each earlier block.
 */
export type SparsePattern =
  { pattern: 'strided'; stride: number } | { pattern: 'fixed'; stride: number; summary: number };

/** Softmax attention (Vaswani et al. 2017), with the positions that the model's config names. */
export interface SoftmaxAttentionConfig {
  type: 'softmax-attention';
  nHeads: number;
  /** Heads of keys and values, fewer for grouped queries; nHeads if absent. */
  nKvHeads?: number;
  /** Width of a head's queries and keys; dModel / nHeads if absent. */
  headDim?: number;
  /** Width of a head's values; headDim if absent. */
  valueDim?: number;
  /** Keys that a query sees, itself included; all earlier ones if absent. */
  window?: number;
  sparse?: SparsePattern;
  /** Bias of all four projections; if absent true where parameters are named as in GPT-2, else false. */
  bias?: boolean;
  /** Bias of the projections to q, k and v, if other than `bias`: Qwen2 has it and none for the output. */
  qkvBias?: boolean;
  /** RMS norms of each head's queries and keys, before they turn, with weights that heads share; false if absent. */
  qkNorm?: boolean;
  /** Whether the output is multiplied by the sigmoid of a gate per channel, projected beside the queries; false if absent. */
  outputGate?: boolean;
  /** What products of queries and keys are multiplied by; `headDim ** -0.5` if absent. */
  scale?: number;
  /** What keys are multiplied by; 1 if absent. */
  keyMultiplier?: number;
  /** Width of a causal convolution of q, k and v, without activation; 0, none, if absent. */
  dConv?: number;
  /** Positions, where these layers have others than the model's. */
  position?: Exclude<PositionConfig, { type: 'learned' }> | 'none' | 'rope' | 'alibi';
}

/** `bias` is that of the output projection, `qkvBias` that of the other three. */
export type ResolvedSoftmaxAttention = Filled<
  Omit<SoftmaxAttentionConfig, 'position'>,
  'window' | 'sparse' | 'scale'
> & { position?: Exclude<ResolvedPosition, { type: 'learned' }> };

function sparseOf(p: Part, where: string, name: string): SparsePattern | undefined {
  const given = p.get('sparse');
  if (given === undefined) return undefined;
  if (typeof given !== 'object' || given === null) p.fail('sparse', 'an object with a pattern');
  const s = new Part(where, `${name}.sparse`, given, ['pattern', 'stride', 'summary']);
  if (s.get('pattern') === undefined) s.fail('pattern', "'strided' or 'fixed'");
  const pattern = s.oneOf('pattern', 'strided', 'fixed');
  const stride = s.needed('stride', limits.length);
  if (pattern === 'fixed') return { pattern, stride, summary: s.needed('summary', stride) };
  if (s.get('summary') !== undefined) s.fail('summary', "absent where the pattern is 'strided'");
  return { pattern, stride };
}

function positionOf(p: Part, where: string, name: string): ResolvedSoftmaxAttention['position'] {
  const given = p.get('position');
  if (given === undefined) return undefined;
  const position = resolvePosition(where, `${name}.position`, given);
  return position.type === 'learned'
    ? p.fail('position', "none, rope or alibi: learned positions are the model's")
    : position;
}

export const softmaxAttention: Kind<SoftmaxAttentionConfig, ResolvedSoftmaxAttention> = {
  options: [
    'type', 'nHeads', 'nKvHeads', 'headDim', 'valueDim', 'window', 'sparse', 'bias', 'qkvBias', 'qkNorm', 'outputGate',
    'scale', 'keyMultiplier', 'dConv', 'position',
  ], // prettier-ignore
  resolve(p, { dModel, gpt2 }, where, name) {
    const { nHeads, headDim } = headsOf(p, dModel);
    const nKvHeads = p.whole('nKvHeads', nHeads);
    if (nHeads % nKvHeads !== 0) p.fail('nKvHeads', `a divisor of nHeads = ${nHeads}`);
    const bias = p.flag('bias', gpt2);
    return {
      type: 'softmax-attention',
      nHeads,
      nKvHeads,
      headDim,
      valueDim: valueDimOf(p, nHeads, headDim),
      window: p.whole('window', undefined, 1, limits.length),
      sparse: sparseOf(p, where, name),
      bias,
      qkvBias: p.flag('qkvBias', bias),
      qkNorm: p.flag('qkNorm', false),
      outputGate: p.flag('outputGate', false),
      scale: p.get('scale') === undefined ? undefined : p.positive('scale'),
      keyMultiplier: p.finite('keyMultiplier', 1),
      dConv: p.whole('dConv', 0, 0, limits.dConv),
      position: positionOf(p, where, name),
    };
  },
};
