import { product, type Size, sum } from '../expression.js';
import { type Grain, numberOf, op, type Op } from './op.js';

export interface LossSizes {
  rows: Size;
  /** Rows that are scored: the others cost nothing. */
  scored: Size;
  vocabSize: Size;
}

/** Mean cross-entropy, and its log-sum-exp of each row. */
export function crossEntropy(g: Grain, { rows, scored, vocabSize }: LossSizes): Op {
  return op({
    other: sum(product(scored, sum(product(2, vocabSize), 3, sumsOfRow(g, vocabSize))), 1),
    transcendentals: product(scored, sum(g.round(vocabSize, 4), 1)),
    read: { ids: rows, activations: product(scored, vocabSize) },
    written: { activations: sum(rows, 1) },
  });
}

/** A row's sum goes by blocks of 1024, then by single vectors: what that takes beside two FLOPs an element. */
function sumsOfRow(g: Grain, vocabSize: Size): number {
  if (!g.kernel) return 0;
  const size = numberOf(vocabSize);
  return 10 * Math.ceil((size - (size % 8)) / 1024) + 10 * Math.ceil((size % 8) / 4) - 2 * (size % 8);
}

export function crossEntropyBackward(g: Grain, { rows, scored, vocabSize }: LossSizes): Op {
  return op({
    other: sum(product(scored, sum(product(2, g.round(vocabSize, 4)), 2)), 1),
    transcendentals: product(scored, g.round(vocabSize, 4)),
    read: { ids: rows, activations: sum(product(scored, vocabSize), scored) },
    written: { activations: product(rows, vocabSize) },
  });
}
