import type { Filled } from '../filled.js';
import { limits } from '../limits.js';
import { innerWidth, type Kind } from './kind.js';

/**
 * Mamba-3 (Lahoti et al. 2026): a state whose planes turn by angles that depend on the input, each input spread over two
 * steps.
 */
export interface Mamba3Config {
  type: 'mamba3';
  /** State size N of each channel; 128 if absent. */
  dState?: number;
  /** dInner = expand * dModel; 2 if absent. */
  expand?: number;
  /** Channels of the state space, where they are no multiple of dModel. */
  dInner?: number;
  /** Channels per head; 64 if absent. dInner must be a multiple of it. */
  headDim?: number;
  /** Groups of heads that share B and C; 1 if absent. */
  nGroups?: number;
  /** Planes of the state that turn, up to dState / 2; dState / 4 rounded down, but at least 1, if absent. */
  nAngles?: number;
  /** Whether a step has several inputs and outputs, each with its own scale of x, z and y (MIMO); false if absent. */
  mimo?: boolean;
  /** How many they are; 4 if absent. Of `mimo` alone. */
  nRanks?: number;
  /** Whether a norm over each head precedes the gate; false if absent. */
  outputNorm?: boolean;
  /** The slowest rate of decay; 1e-4 if absent. */
  aFloor?: number;
  /** Epsilon of the norms of B, of C and of the output; that of the model's norms if absent. */
  normEps?: number;
  /** Steps per chunk of the chunked form, up to 1,024; the kernel's choice if absent. */
  chunkSize?: number;
}

export type ResolvedMamba3 = Filled<Omit<Mamba3Config, 'expand'>, 'chunkSize'>;

export const mamba3: Kind<Mamba3Config, ResolvedMamba3> = {
  options: [
    'type', 'dState', 'expand', 'dInner', 'headDim', 'nGroups', 'nAngles', 'mimo', 'nRanks', 'outputNorm', 'aFloor',
    'normEps', 'chunkSize',
  ], // prettier-ignore
  resolve(p, { dModel, eps }) {
    const dInner = innerWidth(p, dModel);
    const headDim = p.whole('headDim', 64);
    if (dInner % headDim !== 0) p.fail('headDim', `a divisor of dInner = ${dInner}`, headDim);
    const nHeads = dInner / headDim;
    if (nHeads > limits.nHeads) p.fail('headDim', `at least dInner / ${limits.nHeads}`, headDim);
    const nGroups = p.whole('nGroups', 1);
    if (nHeads % nGroups !== 0) p.fail('nGroups', `a divisor of the ${nHeads} heads`);
    const mimo = p.flag('mimo', false);
    // A plane is two channels of the state: neighbours, or of MIMO one of each half.
    const dState = p.whole('dState', 128, 2);
    if (mimo && dState % 2 !== 0) p.fail('dState', 'even where mimo is true', dState);
    const nRanks = p.whole('nRanks', mimo ? 4 : 1, 1, limits.nRanks);
    if (!mimo && nRanks !== 1) p.fail('nRanks', '1 or absent where mimo is false');
    return {
      type: 'mamba3',
      dState,
      dInner,
      headDim,
      nGroups,
      nAngles: p.whole('nAngles', Math.max(Math.floor(dState / 4), 1), 1, Math.floor(dState / 2)),
      mimo,
      nRanks,
      outputNorm: p.flag('outputNorm', false),
      aFloor: p.positive('aFloor', 1e-4),
      normEps: p.eps('normEps', eps),
      chunkSize: p.whole('chunkSize', undefined, 1, limits.chunkSize),
    };
  },
};
