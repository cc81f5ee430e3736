/** What the kernels of matrix products execute. */
import { up } from './round.js';

/** Depth of a block: beyond it, sums of one block are added to those of the next. */
const BLOCK_DEPTH = 256;
const FEW_ROWS = 4;

export interface MatmulWork {
  macs: number;
  other: number;
}

/**
 * The product alone. Tiles of 5 x 8; up to four rows go by dot products of vectors, as does a single column.
 *
 * @param transposed      whether the right factor lies as [n, k]
 * @param leftTransposed  whether the left one lies as [k, m]
 */
export function matmul(
  [m, n, k]: readonly number[],
  transposed: boolean,
  leftTransposed: boolean,
): MatmulWork {
  if (n === 1) return vectorWork(1, m, k, !leftTransposed);
  if (m === 1 || (m <= FEW_ROWS && !leftTransposed)) return vectorWork(m, n, k, transposed);
  return {
    macs: up(m, 5) * up(n, 8) * k,
    other: (Math.ceil(k / BLOCK_DEPTH) - 1) * m * up(n, 4),
  };
}

function vectorWork(rows: number, n: number, k: number, transposed: boolean): MatmulWork {
  if (transposed) {
    // A dot product sums two accumulators, their lanes, and those of what is beyond eights.
    const blocked = n - (n % 4);
    return { macs: rows * n * up(k, 4), other: rows * (16 * blocked + 6 * (n % 4)) };
  }
  const eights = Math.floor(k / 8);
  const whole = n - (n % 4);
  return {
    macs: rows * (eights * 6 * whole + (k % 8) * up(n, 4)),
    other: rows * eights * (4 * whole + 17 * (n % 4)),
  };
}
