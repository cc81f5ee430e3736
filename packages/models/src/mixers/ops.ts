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
  | 'concat'
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
  | 'mamba3'
  | 'mamba3Gate'
  | 'matmul'
  | 'multiply'
  | 'negate'
  | 'relu'
  | 'relu2'
  | 'reshape'
  | 'rmsNorm'
  | 'rope'
  | 'scale'
  | 'selectiveScan'
  | 'sigmoid'
  | 'silu'
  | 'softmaxAttention'
  | 'softplus'
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

/** The weight w of an rms norm, or 1 + w where it is zero-centred. Steps compute it anew only where it has changed. */
export function normWeight(o: Ops, weight: FloatTensor, zeroCentered: boolean): FloatTensor {
  if (!zeroCentered) return weight;
  const shifted = () => o.scale({ x: weight, factor: 1, offset: 1 });
  return isPlain(o) ? internalsOf(o.k).derived(weight, shifted) : shifted();
}

/** What is multiplied by a constant, which for 1 is itself. */
export const scaled = (o: Ops, x: FloatTensor, factor: number): FloatTensor =>
  factor === 1 ? x : o.scale({ x, factor });

/** Rows times `weight`, column by column: a convolution of width 1. `[..., columns]` by `[columns]`. */
export function scaleColumns(o: Ops, x: FloatTensor, weight: FloatTensor): FloatTensor {
  const columns = weight.size;
  const rows = o.reshape(x, [1, x.size / columns, columns]);
  const { y } = o.causalConv1d({ x: rows, weight: o.reshape(weight, [columns, 1]) });
  return o.reshape(y, x.shape);
}

/** Each head `times` times, one after the other: `[..., nHeads, dim]` to `[..., nHeads times, dim]`. */
export function repeatHeads(o: Ops, x: FloatTensor, times: number): FloatTensor {
  if (times === 1) return x;
  const [nHeads, dim] = x.shape.slice(-2);
  const repeated = o.concat({ parts: Array<FloatTensor>(times).fill(x) });
  return o.reshape(repeated, [...x.shape.slice(0, -2), nHeads * times, dim]);
}

/** An input of an op: `Argument<'ssd'>`. */
export type Argument<Op extends 'selectiveScan' | 'ssd' | 'mamba3' | 'linearAttention'> = Parameters<
  Ops[Op]
>[0];

/** All axes but the last: `[batch, seqLen]` of a sequence, `[batch]` of a step. */
export const leading = (x: FloatTensor): readonly number[] => x.shape.slice(0, -1);
