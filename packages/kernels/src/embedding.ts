import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import { checkIds } from './ids.js';
import { layoutNumber, isQuantized, type QuantizedTensor } from './quantized-tensor.js';
import { MOVE_NS } from './slices.js';
import { isTensor, type Tensor } from './tensor.js';

/** Arguments of {@link embedding}. */
export interface EmbeddingArgs {
  ids: Tensor;
  weight: Tensor | QuantizedTensor;
}

/** Arguments of {@link embeddingBackward}. */
export interface EmbeddingBackwardArgs extends EmbeddingArgs {
  weight: Tensor;
  dy: Tensor;
}

/** @returns the shape of the output */
function checkArguments(check: Check, { ids, weight }: EmbeddingArgs): number[] {
  check.int32('ids', ids, isTensor(ids) ? ids.shape : []);
  if (isQuantized(weight)) check.quantized('weight', weight, ['vocabSize', 'dModel']);
  else check.float32('weight', weight, ['vocabSize', 'dModel']);
  const { vocabSize, dModel } = check.sizes;
  checkIds(check, 'ids', ids, vocabSize, `a row of weight, from 0 to ${vocabSize - 1}`);
  return [...ids.shape, dModel];
}

/**
 * Embedding: `y[...] = weight[ids[...]]`.
 *
 * @param ids     int32, any shape, each from 0 to `vocabSize` - 1
 * @param weight  `[vocabSize, dModel]`, quantised or not
 * @returns `[..., dModel]`, float32
 * @throws ArgumentError if an id is out of range: it names the id and its place
 */
export function embedding(k: Context, { ids, weight }: EmbeddingArgs): Tensor<'float32'> {
  const check = new Check('embedding', k);
  const y = k.empty(checkArguments(check, { ids, weight }));
  const { dModel } = check.sizes;
  if (isQuantized(weight)) {
    const dtype = layoutNumber(weight);
    k.run('quantizedEmbeddingForward', [y.pointer, ids.pointer, weight.pointer, dModel, dtype], {
      units: ids.size,
      nanoseconds: ids.size * dModel * MOVE_NS,
    });
    return y;
  }
  k.run('embeddingForward', [y.pointer, ids.pointer, weight.pointer, ids.size, dModel], {
    units: ids.size,
    nanoseconds: ids.size * dModel * MOVE_NS,
    slices: { countAt: 3, steps: [dModel * 4, 4] },
  });
  return y;
}

/**
 * Gradient of {@link embedding}: each row sums `dy` over the places that have its id; rows not used are 0.
 *
 * @param dy  gradient of the output, `[..., dModel]`
 * @returns `dweight`, `[vocabSize, dModel]`
 */
export function embeddingBackward(
  k: Context,
  { ids, weight, dy }: EmbeddingBackwardArgs,
): { dweight: Tensor<'float32'> } {
  const check = new Check('embeddingBackward', k);
  check.float32('weight', weight, ['vocabSize', 'dModel']);
  check.float32('dy', dy, checkArguments(check, { ids, weight }));
  const { dModel } = check.sizes;
  const dweight = k.zeros(weight.shape);
  k.run('embeddingBackward', [dweight.pointer, ids.pointer, dy.pointer, ids.size, dModel], {
    units: Math.ceil(dModel / 16),
    nanoseconds: ids.size * dModel * MOVE_NS,
    partsPerThread: 2, // each goes through all ids
  });
  return { dweight };
}

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  embedding: op(embedding, { ids: 'tensor', weight: 'tensor' }),
  embeddingBackward: op(embeddingBackward, { ids: 'tensor', weight: 'tensor', dy: 'tensor' }),
};
