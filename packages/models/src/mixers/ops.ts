import type { Tape } from '@freelunch/autograd';
import type { Kernels } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import type { FloatTensor } from './parameters.js';

/**
 * What models are computed with: a tape, which records, or kernels alone. A block is written once, over these; what a
 * single step does otherwise than a whole sequence is the one op that mixes positions.
 */
export type Ops = Pick<
  Tape,
  | 'k'
  | 'add'
  | 'causalConv1d'
  | 'checkpoint'
  | 'crossEntropy'
  | 'deltaRule'
  | 'embedding'
  | 'exp'
  | 'gatedDeltaRule'
  | 'gatedRmsNorm'
  | 'gelu'
  | 'layerNorm'
  | 'linearAttention'
  | 'logSigmoid'
  | 'matmul'
  | 'multiply'
  | 'negate'
  | 'relu'
  | 'reshape'
  | 'rmsNorm'
  | 'rope'
  | 'selectiveScan'
  | 'sigmoid'
  | 'silu'
  | 'softmaxAttention'
  | 'split'
  | 'ssd'
>;

const known = new WeakMap<Kernels, Ops>();

/** Kernels as ops that record nothing, which costs less than a tape that records nothing. */
export function plainOps(k: Kernels): Ops {
  const before = known.get(k);
  if (before !== undefined) return before;
  const ops: Ops = {
    ...k,
    k,
    reshape: (x, shape) => x.reshape(shape),
    checkpoint: (fn) => k.scope(() => fn(ops as Tape)),
  };
  known.set(k, ops);
  return ops;
}

/** Whether nothing is recorded: what has been used can go. */
export const isPlain = (o: Ops): boolean => known.get(o.k) === o;

/** Runs `fn` and frees what it made, except what it returns; a tape keeps it for the way back. */
export const freeing = (o: Ops, fn: () => FloatTensor): FloatTensor => (isPlain(o) ? o.k.scope(fn) : fn());

/** `-exp(x)`: the rates of decay by their logarithms. Steps compute them anew only where these have changed. */
export function decayRates(o: Ops, logs: FloatTensor): FloatTensor {
  const rates = () => o.negate({ x: o.exp({ x: logs }) });
  return isPlain(o) ? internalsOf(o.k).derived(logs, rates) : rates();
}

/** An input of an op: `Argument<'ssd'>`. */
export type Argument<Op extends 'selectiveScan' | 'ssd' | 'linearAttention'> = Parameters<Ops[Op]>[0];

/** All axes but the last: `[batch, seqLen]` of a sequence, `[batch]` of a step. */
export const leading = (x: FloatTensor): readonly number[] => x.shape.slice(0, -1);
