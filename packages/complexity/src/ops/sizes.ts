/** Sizes of the ops that kernels compute by tiles. */
import type { SparsePattern } from '@freelunch/config';
import type { Size } from '../expression.js';

export interface AttentionSizes {
  batch: Size;
  seqLen: Size;
  nHeads: Size;
  nKvHeads: Size;
  /** Width of queries and keys. */
  headDim: Size;
  /** Width of values; headDim if absent. */
  valueDim?: Size;
  /** Keys that a query sees, itself included. */
  window?: Size;
  sparse?: SparsePattern;
  /** Width of a block of a sparse pattern, as a variable; `sparse.stride` if absent. */
  stride?: Size;
  alibi?: boolean;
}

export interface LinearAttentionSizes {
  batch: Size;
  seqLen: Size;
  nHeads: Size;
  /** Width of queries and keys. */
  headDim: Size;
  /** Width of values; headDim if absent. */
  valueDim?: Size;
  featureMap?: 'identity' | 'relu' | 'elu1';
  normalize?: boolean;
  /** Forget factors: fixed a head, one a head and token, or one a key channel and token. */
  forget?: 'none' | 'retention' | 'token' | 'channel';
  initialState?: boolean;
}

/** Steps of a chunk of SSD where no other number is given. */
export const DEFAULT_CHUNK = 40;
/** In the backward pass chunks are at least this long. */
export const SHORTEST_CHUNK_BACKWARD = 16;

/** State space duality with D, dtBias and softplus and without a gate, as Mamba-2 has it. */
export interface SsdSizes {
  batch: Size;
  seqLen: Size;
  nHeads: Size;
  headDim: Size;
  nGroups: Size;
  dState: Size;
  chunkSize?: Size;
  initialState?: boolean;
}

/** Rows of a chunk of Mamba-3, of which each step has one per rank, where no other number of steps is given. */
export const MAMBA3_CHUNK_ROWS = 40;
/** In the backward pass its chunks have at least so many steps. */
export const MAMBA3_SHORTEST_CHUNK_BACKWARD = 8;

/** The state space of Mamba-3 with biases, D, dtBias, softplus and a floor of A. */
export interface Mamba3Sizes {
  batch: Size;
  seqLen: Size;
  nHeads: Size;
  headDim: Size;
  nGroups: Size;
  /** 1 for a single input and output. */
  nRanks: Size;
  dState: Size;
  nAngles: Size;
  /** Whether each head has angles of its own; all share them if absent. */
  ownAngles?: boolean;
  /** Whether there is mimoX, and planes lie half a row apart. */
  mimo?: boolean;
  chunkSize?: Size;
  /** What goes on from an earlier sequence. */
  initialState?: boolean;
}
