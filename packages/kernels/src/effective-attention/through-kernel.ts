import type { Context } from '../context.js';
import type { Tensor } from '../tensor.js';

/**
 * The matrix M of a mixer with o = M v, found by mixing the unit vectors: with v_j = e_j, o_i is row i of M.
 *
 * @param q    any tensor `[batch, seqLen, nHeads, ...]`, for the sizes
 * @param mix  o for these values, both `[batch, seqLen, nHeads, seqLen]`
 * @returns `[batch, nHeads, seqLen, seqLen]`, zero above the diagonal
 */
export function causalMatrix(context: Context, q: Tensor, mix: (v: Tensor) => Tensor): Tensor<'float32'> {
  const [batch, seqLen, nHeads] = q.shape;
  return context.scope(() => {
    const v = context.zeros([batch, seqLen, nHeads, seqLen]);
    const units = v.data;
    for (let row = 0; row < batch * seqLen * nHeads; row++) {
      units[row * seqLen + (Math.floor(row / nHeads) % seqLen)] = 1;
    }
    const o = mix(v);
    const matrix = context.zeros([batch, nHeads, seqLen, seqLen]);
    const [from, to] = [o.data, matrix.data];
    for (let b = 0; b < batch; b++) {
      for (let i = 0; i < seqLen; i++) {
        for (let h = 0; h < nHeads; h++) {
          const row = ((b * seqLen + i) * nHeads + h) * seqLen;
          to.set(from.subarray(row, row + i + 1), ((b * nHeads + h) * seqLen + i) * seqLen);
        }
      }
    }
    return matrix;
  });
}
