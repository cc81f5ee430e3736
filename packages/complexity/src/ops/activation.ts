import { product, type Size, sum } from '../expression.js';
import { type Grain, op, type Op } from './op.js';

interface Pointwise {
  /** FLOPs an element, of which `macs` are multiply-adds and count twice. */
  other?: number;
  macs?: number;
  transcendentals?: number;
  /** Tensors that it reads and writes; 1 if absent. */
  reads?: number;
  writes?: number;
  /** Whether it has no exp: its last vector is then done even if empty. */
  tail?: boolean;
}

/** By op: the function, then its gradient. */
const pointwise = {
  add: [
    { other: 1, reads: 2, tail: true },
    { reads: 1, writes: 2 },
  ],
  multiply: [
    { other: 1, reads: 2, tail: true },
    { other: 2, reads: 3, writes: 2, tail: true },
  ],
  exp: [{ transcendentals: 1 }, { other: 1, transcendentals: 1, reads: 2 }],
  negate: [{}, { reads: 1 }],
  silu: [
    { other: 2, transcendentals: 1 },
    { macs: 1, other: 5, transcendentals: 1, reads: 2 },
  ],
  gelu: [
    { macs: 1, other: 2, transcendentals: 2 },
    { macs: 1, other: 5, transcendentals: 2, reads: 2 },
  ],
  geluTanh: [
    { macs: 1, other: 4, transcendentals: 1 },
    { macs: 3, other: 8, transcendentals: 1, reads: 2 },
  ],
  softplus: [
    { other: 1, transcendentals: 2 },
    { other: 3, transcendentals: 1, reads: 2 },
  ],
  logSigmoid: [
    { other: 1, transcendentals: 2 },
    { other: 3, transcendentals: 1, reads: 2 },
  ],
  sigmoid: [
    { other: 2, transcendentals: 1 },
    { other: 4, transcendentals: 1, reads: 2 },
  ],
  tanh: [
    { other: 3, transcendentals: 1 },
    { other: 8, transcendentals: 1, reads: 2 },
  ],
  relu: [{ tail: true }, { reads: 2, tail: true }],
  relu2: [{ other: 1 }, { other: 2, reads: 2 }],
  elu1: [
    { other: 1, transcendentals: 1 },
    { other: 1, transcendentals: 1, reads: 2 },
  ],
} satisfies Record<string, [Pointwise, Pointwise]>;

export type PointwiseOp = keyof typeof pointwise;

/** One function of `size` numbers. */
export function activation(g: Grain, name: PointwiseOp, size: Size, backward = false): Op {
  const counts: Pointwise = pointwise[name][backward ? 1 : 0];
  const done = counts.tail ? g.tail(size) : g.round(size, 4);
  return op({
    macs: product(counts.macs ?? 0, done),
    other: product(counts.other ?? 0, done),
    transcendentals: product(counts.transcendentals ?? 0, done),
    read: { activations: product(counts.reads ?? 1, size) },
    written: { activations: product(counts.writes ?? 1, size) },
  });
}

/** Rows times constants, one per part of these widths, and an offset; the gradient is alike. One constant takes all as one row. */
export function scale(g: Grain, rows: Size, widths: readonly Size[]): Op {
  const size = product(rows, sum(...widths));
  const ofRow = sum(...widths.map((width) => product(2, g.tail(width))));
  return op({
    other: widths.length === 1 ? product(2, g.tail(size)) : product(rows, ofRow),
    read: { activations: size },
    written: { activations: size },
  });
}

/** Two gradients of one tensor, added up. */
export function accumulate(size: Size): Op {
  return op({ other: size, read: { activations: product(2, size) }, written: { activations: size } });
}

/** Parts of rows, copied to tensors of their own or back. */
export function copy(size: Size): Op {
  return op({ read: { activations: size }, written: { activations: size } });
}
