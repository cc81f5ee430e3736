import { ceil, Expression, product, type Size, sum } from '../expression.js';
import { type Grain, numberOf, op, type Op } from './op.js';

/** `y[i] = weight[ids[i]]`, `count` rows. */
export function embedding(count: Size, dModel: Size): Op {
  const size = product(count, dModel);
  return op({ read: { ids: count, weights: size }, written: { activations: size } });
}

/** The gradient has a row for each of the vocabulary, most of them zero. */
export function embeddingBackward(g: Grain, count: Size, vocabSize: Size, dModel: Size): Op {
  return op({
    other: product(count, g.tail(dModel)),
    read: { ids: count, activations: product(count, dModel) },
    written: { gradients: product(vocabSize, dModel) },
  });
}

export interface RopeSizes {
  batch: Size;
  seqLen: Size;
  nHeads: Size;
  headDim: Size;
  rotaryDim?: Size;
  interleaved?: boolean;
}

/** Rotations of pairs; cosines and sines are made anew every 32 positions, and turned by a step between. */
export function rope(
  g: Grain,
  { batch, seqLen, nHeads, headDim, rotaryDim = headDim, interleaved = false }: RopeSizes,
): Op {
  const pairs = product(1 / 2, rotaryDim);
  const size = product(batch, seqLen, nHeads, headDim);
  const anchors = g.kernel ? Math.ceil(numberOf(seqLen) / 32) : ceil(product(1 / 32, seqLen));
  const steps = sum(seqLen, product(-1, anchors));
  const single = Expression.of(seqLen).constant === 1; // there is no step to turn by
  return op({
    macs: product(batch, seqLen, nHeads, interleaved ? g.round(rotaryDim, 4) : product(2, g.round(pairs, 4))),
    other: sum(
      product(3, pairs), // frequencies
      product(anchors, sum(pairs, 1)),
      product(6, steps, g.round(pairs, 4)),
      product(batch, seqLen, nHeads, interleaved ? g.round(rotaryDim, 4) : product(2, g.round(pairs, 4))),
      interleaved ? g.extra(product(2, seqLen, g.round(pairs, 4))) : 0,
    ),
    transcendentals: product(pairs, sum(product(2, anchors), single ? 1 : 3)),
    read: { activations: size },
    written: { activations: size },
  });
}

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

/** A step of AdamW. @param tensors sizes of the tensors that the parameters lie in; kernels alone ask for them */
export function adamW(g: Grain, params: Size, tensors: readonly Size[]): Op {
  const done = g.kernel ? sum(...tensors.map((size) => g.tail(size))) : params;
  return op({
    macs: product(5, done),
    other: sum(product(7, done), 8 * tensors.length),
    transcendentals: 2 * tensors.length,
    read: { weights: params, gradients: params, moments: product(2, params) },
    written: { weights: params, moments: product(2, params) },
  });
}
