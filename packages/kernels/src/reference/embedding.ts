/**
 * Look-up of rows.
 *
 *   ids  any shape [...]      weight  [vocabSize, dModel]      y  [..., dModel]
 */
import type { Array64 } from './array64.js';
import { dequantize, type QuantizedArray } from './quantization.js';

/** `y[i] = weight[ids[i]]` */
export function embedding({
  ids,
  weight: given,
}: {
  ids: Array64;
  weight: Array64 | QuantizedArray;
}): Array64 {
  const weight = 'bytes' in given ? dequantize({ x: given }) : given;
  const dModel = weight.shape[1];
  const data = new Float64Array(ids.data.length * dModel);
  ids.data.forEach((id, i) => data.set(weight.data.subarray(id * dModel, (id + 1) * dModel), i * dModel));
  return { shape: [...ids.shape, dModel], data };
}
