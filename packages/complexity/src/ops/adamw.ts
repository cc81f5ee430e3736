import { product, type Size, sum } from '../expression.js';
import { type Grain, op, type Op } from './op.js';

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
