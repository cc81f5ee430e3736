import { product, type Size } from '../expression.js';
import { type Grain, op, type Op } from './op.js';

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
