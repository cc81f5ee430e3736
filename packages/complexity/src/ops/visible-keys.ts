import type { SparsePattern } from '@freelunch/config';
import { Expression, minimum, product, type Size, sum } from '../expression.js';
import { numberOf } from './op.js';
import type { AttentionSizes } from './sizes.js';

/** Keys that a query at `position` sees. */
export function visibleKeys(
  position: Size,
  { window, sparse, stride }: Pick<AttentionSizes, 'window' | 'sparse' | 'stride'>,
): Expression {
  const seen = sum(position, 1);
  if (sparse === undefined) return window === undefined ? seen : minimum(seen, window);
  const value = Expression.of(position).constant;
  if (value !== undefined)
    return Expression.of(countVisible(value, sparse, window === undefined ? Infinity : numberOf(window)));
  // The mean over the positions of a block: its own keys, then those of the blocks before.
  const width = Expression.of(stride ?? sparse.stride);
  const half = product(1 / 2, sum(width, -1));
  const blocks = product(sum(position, product(-1, half)), width.inverse());
  return sparse.pattern === 'fixed'
    ? sum(half, 1, product(sparse.summary, blocks))
    : sum(minimum(seen, width), blocks);
}

/** The same, counted. */
export function countVisible(position: number, sparse: SparsePattern, window: number): number {
  const { stride } = sparse;
  const oldest = Math.max(0, position - window + 1);
  let count = 0;
  for (let key = oldest; key <= position; key++) {
    const near =
      sparse.pattern === 'strided'
        ? position - key < stride || (position - key) % stride === 0
        : key >= position - (position % stride) || key % stride >= stride - sparse.summary;
    if (near) count++;
  }
  return count;
}

/** Pairs of queries and the keys that they see. */
export function visiblePairs(
  seqLen: Size,
  sizes: Pick<AttentionSizes, 'window' | 'sparse' | 'stride'>,
): Expression {
  const { window, sparse } = sizes;
  const length = Expression.of(seqLen).constant;
  if (sparse !== undefined && length !== undefined) {
    const reach = window === undefined ? Infinity : numberOf(window);
    let pairs = 0;
    for (let t = 0; t < length; t++) pairs += countVisible(t, sparse, reach);
    return Expression.of(pairs);
  }
  const position = Expression.atom({ name: 'position' });
  return visibleKeys(position, sizes).sumOver('position', 0, seqLen);
}
