import { product, type Size, sum } from '../expression.js';
import { type Grain, op, type Op } from './op.js';

export interface Mamba3GateSizes {
  rows: Size;
  nHeads: Size;
  nRanks: Size;
  headDim: Size;
  /** Whether there is a norm. */
  norm?: boolean;
  /** Whether there are mimoZ and mimoO. */
  mimo?: boolean;
}

const elements = ({ rows, nHeads, nRanks, headDim, norm, mimo }: Mamba3GateSizes) => ({
  x: product(rows, nHeads, nRanks, headDim),
  z: product(rows, nHeads, headDim),
  weights: sum(norm ? product(nHeads, headDim) : 0, mimo ? product(2, nHeads, nRanks, headDim) : 0),
});

export function mamba3Gate(g: Grain, sizes: Mamba3GateSizes): Op {
  const { rows, nHeads, nRanks, headDim, norm, mimo } = sizes;
  const { x, z, weights } = elements(sizes);
  const heads = product(rows, nHeads);
  const wide = g.round(headDim, 4);
  const ranks = product(heads, nRanks);
  return op({
    other: sum(
      product(ranks, wide, 3 + (norm ? 4 : 0) + (mimo ? 2 : 0)),
      product(heads, sum(nRanks, -1), wide),
      norm ? product(ranks, 7) : 0,
    ),
    transcendentals: product(ranks, wide),
    read: { activations: sum(x, z), weights },
    written: { activations: z },
  });
}

export function mamba3GateBackward(g: Grain, sizes: Mamba3GateSizes): Op {
  const { rows, nHeads, nRanks, headDim, norm, mimo } = sizes;
  const { x, z, weights } = elements(sizes);
  const heads = product(rows, nHeads);
  const wide = g.round(headDim, 4);
  const ranks = product(heads, nRanks);
  return op({
    macs: sum(product(ranks, wide), norm ? product(ranks, wide) : 0),
    other: sum(
      product(ranks, wide, 14 + (mimo ? 5 : 0) + (norm ? 9 : 0)),
      product(heads, sum(nRanks, -1), wide),
      norm ? product(ranks, 13) : 0,
    ),
    transcendentals: product(2, ranks, wide),
    read: { activations: sum(x, product(2, z)), weights },
    written: { activations: sum(x, z), gradients: weights },
  });
}
