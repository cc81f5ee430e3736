/**
 * Look-up of rows.
 *
 *   ids  any shape [...]      weight  [vocabSize, dModel]      y  [..., dModel]
 */
import type { Array64 } from './array64.js';

/** `y[i] = weight[ids[i]]` */
export function embedding({ ids, weight }: { ids: Array64; weight: Array64 }): Array64 {
  const dModel = weight.shape[1];
  const data = new Float64Array(ids.data.length * dModel);
  ids.data.forEach((id, i) => data.set(weight.data.subarray(id * dModel, (id + 1) * dModel), i * dModel));
  return { shape: [...ids.shape, dModel], data };
}
