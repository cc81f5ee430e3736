import { product, type Size, sum } from '../expression.js';
import { type Grain, numberOf, op, type Op } from './op.js';

export interface NormSizes {
  rows: Size;
  dim: Size;
}

/**
 * Of the gradients of weights, 32 rows are added up in float32, then those sums in float64, run by run of rows, and then
 * the runs.
 */
function folds(g: Grain, { rows, dim }: NormSizes): number {
  if (!g.kernel) return 0;
  const count = numberOf(rows);
  const rowsInRun = Math.max(256, Math.ceil(count / 16 / 32) * 32);
  const runs = Math.ceil(count / rowsInRun);
  return (Math.ceil(count / 32) + runs - 1) * numberOf(g.round(dim, 4));
}

/** `y = x w / sqrt(mean(x^2) + eps)`. */
export function rmsNorm(g: Grain, { rows, dim }: NormSizes): Op {
  return op({
    macs: product(rows, g.round(dim, 4)),
    other: product(rows, sum(product(2, g.tail(dim)), 4, g.extra(17))),
    read: { activations: product(rows, dim), weights: dim },
    written: { activations: product(rows, dim) },
  });
}

export function rmsNormBackward(g: Grain, sizes: NormSizes): Op {
  const { rows, dim } = sizes;
  const wide = g.round(dim, 4);
  return op({
    macs: product(4, rows, wide),
    other: sum(product(rows, sum(product(4, wide), 7, g.extra(18))), folds(g, sizes)),
    read: { activations: product(2, rows, dim), weights: dim },
    written: { activations: product(rows, dim), gradients: dim },
  });
}

/** `y = (x - mean(x)) w / sqrt(mean((x - mean(x))^2) + eps) + b`; sums are of x less a first mean. */
export function layerNorm(g: Grain, { rows, dim }: NormSizes): Op {
  const wide = g.round(dim, 4);
  const tail = g.tail(dim);
  return op({
    macs: product(rows, sum(wide, product(2, tail))),
    other: product(rows, sum(product(3, wide), tail, 9, g.extra(35))),
    read: { activations: product(rows, dim), weights: product(2, dim) },
    written: { activations: product(rows, dim) },
  });
}

export function layerNormBackward(g: Grain, sizes: NormSizes): Op {
  const { rows, dim } = sizes;
  const wide = g.round(dim, 4);
  return op({
    macs: product(5, rows, wide),
    other: sum(product(rows, sum(product(10, wide), 14, g.extra(37))), product(2, folds(g, sizes))),
    read: { activations: product(2, rows, dim), weights: dim },
    written: { activations: product(rows, dim), gradients: product(2, dim) },
  });
}

export interface GatedNormSizes extends NormSizes {
  /** Groups of a row, each of `dim` numbers with a mean of its own. */
  groups: Size;
  normBeforeGate?: boolean;
}

/** `rmsNorm(x silu(z))`, or `rmsNorm(x) silu(z)`. */
export function gatedRmsNorm(g: Grain, { rows, groups, dim }: GatedNormSizes): Op {
  const means = product(rows, groups);
  const wide = product(means, g.round(dim, 4));
  const size = product(means, dim);
  return op({
    macs: wide,
    other: sum(product(3, wide), product(means, sum(product(2, g.tail(dim)), 4, g.extra(17)))),
    transcendentals: wide,
    read: { activations: product(2, size), weights: product(groups, dim) },
    written: { activations: size },
  });
}

export function gatedRmsNormBackward(
  g: Grain,
  { rows, groups, dim, normBeforeGate = false }: GatedNormSizes,
): Op {
  const means = product(rows, groups);
  const wide = product(means, g.round(dim, 4));
  const size = product(means, dim);
  return op({
    macs: product(5, wide),
    other: sum(
      product(normBeforeGate ? 15 : 14, wide),
      product(means, sum(7, g.extra(10))),
      folds(g, { rows, dim: product(groups, dim) }),
    ),
    transcendentals: wide,
    read: { activations: product(3, size), weights: product(groups, dim) },
    written: { activations: product(2, size), gradients: product(groups, dim) },
  });
}
