import type { Filled } from '../filled.js';
import { limits } from '../limits.js';
import type { Part } from '../part.js';
import { innerWidth, type Kind } from './kind.js';

/** Mamba-2: state space duality, one decay per head (Dao & Gu 2024). */
export interface Mamba2Config {
  type: 'mamba2';
  /** State size N of each channel; 128 if absent. */
  dState?: number;
  /** Width of the causal convolution; 4 if absent, 0 for none. */
  dConv?: number;
  /** dInner = expand * dModel; 2 if absent. */
  expand?: number;
  /** Channels of the scan, where they are no multiple of dModel. */
  dInner?: number;
  /** Channels per head; 64 if absent. dInner must be a multiple of it. */
  headDim?: number;
  /** Groups of heads that share B and C; 1 if absent. */
  nGroups?: number;
  /** Steps per chunk of the chunked form, up to 1,024; the kernel's choice if absent. */
  chunkSize?: number;
  /** Bias of the input projection, and of the output projection unless `outBias` says otherwise; false if absent. */
  bias?: boolean;
  /** Bias of the output projection; `bias` if absent. */
  outBias?: boolean;
  /** Bias of the convolution; true if absent. */
  convBias?: boolean;
  /** Whether a norm follows the scan; if not, its output is only gated by silu(z). True if absent. */
  gatedNorm?: boolean;
  /** Whether the gated norm comes before the gate; false if absent. */
  normBeforeGate?: boolean;
  /**
   * Equal parts of dInner over each of which the gated norm takes its mean: nGroups if absent, as in mamba_ssm. Mamba-2,
   * Bamba and Granite of Transformers take it over all channels: 1.
   */
  normGroups?: number;
  /** Epsilon of the gated norm; that of the model's norms if absent. */
  normEps?: number;
  /** Bounds of dt after softplus; none if absent. */
  dtLimit?: readonly [number, number];
  /** What z, x, B, C and dt are multiplied by as they leave the input projection (Falcon-H1); 1 each if absent. */
  multipliers?: readonly [number, number, number, number, number];
}

export type ResolvedMamba2 = Filled<Omit<Mamba2Config, 'expand'>, 'chunkSize' | 'dtLimit' | 'multipliers'>;

function dtLimitOf(p: Part): readonly [number, number] | undefined {
  const given = p.get('dtLimit');
  if (given === undefined) return undefined;
  const [least, most] = Array.isArray(given) && given.length === 2 ? (given as unknown[]) : [];
  if (!(
    typeof least === 'number' &&
    typeof most === 'number' &&
    least >= 0 &&
    least < Infinity &&
    most >= least
  ))
    return p.fail('dtLimit', '[min, max] with 0 <= min <= max');
  return least === 0 && most === Infinity ? undefined : [least, most];
}

function multipliersOf(p: Part): Mamba2Config['multipliers'] {
  const given = p.get('multipliers');
  if (given === undefined) return undefined;
  if (!Array.isArray(given) || given.length !== 5 || !given.every(Number.isFinite))
    return p.fail('multipliers', 'five finite numbers, of z, x, B, C and dt');
  const [z, x, B, C, dt] = given as number[];
  return given.every((one) => one === 1) ? undefined : [z, x, B, C, dt];
}

export const mamba2: Kind<Mamba2Config, ResolvedMamba2> = {
  options: [
    'type', 'dState', 'dConv', 'expand', 'dInner', 'headDim', 'nGroups', 'chunkSize', 'bias', 'outBias', 'convBias',
    'gatedNorm', 'normBeforeGate', 'normGroups', 'normEps', 'dtLimit', 'multipliers',
  ], // prettier-ignore
  resolve(p, { dModel, eps }) {
    const dInner = innerWidth(p, dModel);
    const headDim = p.whole('headDim', 64);
    if (dInner % headDim !== 0) p.fail('headDim', `a divisor of dInner = ${dInner}`, headDim);
    const nHeads = dInner / headDim;
    if (nHeads > limits.nHeads) p.fail('headDim', `at least dInner / ${limits.nHeads}`, headDim);
    const nGroups = p.whole('nGroups', 1);
    if (nHeads % nGroups !== 0) p.fail('nGroups', `a divisor of the ${nHeads} heads`);
    const normGroups = p.whole('normGroups', nGroups);
    if (dInner % normGroups !== 0) p.fail('normGroups', `a divisor of dInner = ${dInner}`);
    const gatedNorm = p.flag('gatedNorm', true);
    const normBeforeGate = p.flag('normBeforeGate', false);
    if (!gatedNorm && normBeforeGate) p.fail('normBeforeGate', 'false or absent where gatedNorm is false');
    const bias = p.flag('bias', false);
    return {
      type: 'mamba2',
      dState: p.whole('dState', 128),
      dConv: p.whole('dConv', 4, 0, limits.dConv),
      dInner,
      headDim,
      nGroups,
      chunkSize: p.whole('chunkSize', undefined, 1, limits.chunkSize),
      bias,
      outBias: p.flag('outBias', bias),
      convBias: p.flag('convBias', true),
      gatedNorm,
      normBeforeGate,
      normGroups,
      normEps: p.eps('normEps', eps),
      dtLimit: dtLimitOf(p),
      multipliers: multipliersOf(p),
    };
  },
};
