import { Expression, product, type Size, sum } from '../expression.js';
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

/** Depth of a block: beyond it, sums of one block are added to those of the next. */
const BLOCK_DEPTH = 256;
const FEW_ROWS = 4;

/**
 * The product alone. Tiles of 5 x 8; up to four rows go by dot products of vectors, as does a single column.
 *
 * @param transposed      whether the right factor lies as [n, k]
 * @param leftTransposed  whether the left one lies as [k, m]
 */
function work(
  g: Grain,
  m: Size,
  n: Size,
  k: Size,
  transposed: boolean,
  leftTransposed = false,
): { macs: Expression; other: Expression } {
  if (!g.kernel) return { macs: product(m, n, k), other: Expression.of(0) };
  const [rows, columns, depth] = [m, n, k].map(numberOf);
  if (columns === 1) return vectorWork(1, rows, depth, !leftTransposed);
  if (rows === 1 || (rows <= FEW_ROWS && !leftTransposed))
    return vectorWork(rows, columns, depth, transposed);
  return tiledWork(g, m, n, k);
}

function tiledWork(g: Grain, m: Size, n: Size, k: Size): { macs: Expression; other: Expression } {
  const later = g.kernel ? Math.ceil(numberOf(k) / BLOCK_DEPTH) - 1 : 0;
  return {
    macs: product(g.round(m, 5), g.round(n, 8), k),
    other: product(later, m, g.round(n, 4)),
  };
}

const four = (size: number) => Math.ceil(size / 4) * 4;

function vectorWork(
  rows: number,
  n: number,
  k: number,
  transposed: boolean,
): { macs: Expression; other: Expression } {
  if (transposed) {
    // A dot product sums two accumulators, their lanes, and those of what is beyond eights.
    const blocked = n - (n % 4);
    return {
      macs: Expression.of(rows * n * four(k)),
      other: Expression.of(rows * (16 * blocked + 6 * (n % 4))),
    };
  }
  const eights = Math.floor(k / 8);
  const whole = n - (n % 4);
  return {
    macs: Expression.of(rows * (eights * 6 * whole + (k % 8) * four(n))),
    other: Expression.of(rows * eights * (4 * whole + 17 * (n % 4))),
  };
}

export function matmul(g: Grain, { m, n, k, bias = false, transposed = true }: MatmulSizes): Op {
  const { macs, other } = work(g, m, n, k, transposed);
  return op({
    macs,
    other: sum(other, bias && !g.kernel ? product(m, n) : 0), // in kernels sums start from the bias
    read: { activations: product(m, k), weights: sum(product(n, k), bias ? n : 0) },
    written: { activations: product(m, n) },
  });
}

/** Gradients of both factors and the bias. */
export function matmulBackward(g: Grain, { m, n, k, bias = false, transposed = true }: MatmulSizes): Op {
  const da = work(g, m, k, n, !transposed);
  const [rows, columns] = transposed ? [n, k] : [k, n];
  const db = work(g, rows, columns, m, false, true);
  const blocks = g.kernel ? Math.ceil(numberOf(m) / 64) : 0;
  return op({
    macs: da.macs.plus(db.macs),
    other: sum(da.other, db.other, bias ? product(sum(m, blocks), g.round(n, 4)) : 0),
    read: { activations: sum(product(m, n), product(m, k)), weights: product(n, k) },
    written: { activations: product(m, k), gradients: sum(product(n, k), bias ? n : 0) },
  });
}
