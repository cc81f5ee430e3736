import { type Expression, product, type Size, sum } from '../expression.js';
import { type Grain, numberOf, op, type Op } from './op.js';

export interface MatmulSizes {
  /** `[m, k] x [k, n]`: of all matrices of the batch together, which share the right factor. */
  m: Size;
  n: Size;
  k: Size;
  bias?: boolean;
  /** Whether the weights lie as [n, k]; true if absent. */
  transposed?: boolean;
}

const work = (g: Grain, m: Size, n: Size, k: Size, transposed: boolean, leftTransposed = false) =>
  g.kernel
    ? g.kernel.matmul([m, n, k].map(numberOf), transposed, leftTransposed)
    : { macs: product(m, n, k), other: 0 };

export function matmul(g: Grain, { m, n, k, bias = false, transposed = true }: MatmulSizes): Op {
  const { macs, other } = work(g, m, n, k, transposed);
  return op({
    macs,
    other: sum(other, bias && !g.kernel ? product(m, n) : 0), // in kernels sums start from the bias
    read: { activations: product(m, k), weights: sum(product(n, k), bias ? n : 0) },
    written: { activations: product(m, n) },
  });
}

/** Additions of the sums of columns over rows: kernels add up runs of 64 rows, then these. */
export function columnSums(g: Grain, rows: Size, columns: Size): Expression {
  const runs = g.kernel ? Math.ceil(numberOf(rows) / 64) : 0;
  return product(sum(rows, runs), g.round(columns, 4));
}

/** Gradients of both factors and the bias. */
export function matmulBackward(g: Grain, { m, n, k, bias = false, transposed = true }: MatmulSizes): Op {
  const da = work(g, m, k, n, !transposed);
  const [rows, columns] = transposed ? [n, k] : [k, n];
  const db = work(g, rows, columns, m, false, true);
  return op({
    macs: sum(da.macs, db.macs),
    other: sum(da.other, db.other, bias ? columnSums(g, m, n) : 0),
    read: { activations: sum(product(m, n), product(m, k)), weights: product(n, k) },
    written: { activations: product(m, k), gradients: sum(product(n, k), bias ? n : 0) },
  });
}
