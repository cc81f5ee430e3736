import type { Context } from '../context.js';
import { type SelectiveScanArgs, selectiveScan } from '../selective-scan.js';
import type { Tensor } from '../tensor.js';

/**
 * The matrix of {@link selectiveScan}. With S the running sum of delta (bias and softplus applied),
 *
 *     M[b, d, i, j] = sum over n of C_i[n] B_j[n] exp(A[d, n] (S_i[d] - S_j[d])), zero for j > i
 *
 * so `y = (M (delta u) + D u) silu(z)` where the initial state is zero. Column j below its diagonal is the scan itself,
 * started after j from the state B_j and given no input: sums of delta are never subtracted from each other.
 *
 * @param args those of {@link selectiveScan}; u, D, z and initialState do not enter M
 * @returns `[batch, dInner, seqLen, seqLen]`
 */
export function selectiveScanMatrix(k: Context, args: SelectiveScanArgs): Tensor<'float32'> {
  const { delta, A, deltaBias, deltaSoftplus } = args;
  return k.scope(() => {
    selectiveScan(k, args).y.dispose(); // checks all arguments
    const [batch, seqLen, dInner] = delta.shape;
    const dState = A.shape[1];
    const matrix = k.zeros([batch, dInner, seqLen, seqLen]);
    for (let b = 0; b < batch; b++) {
      for (let j = 0; j < seqLen; j++) {
        k.scope(() => {
          const keys = rowsAt(args.B as Tensor<'float32'>, b, j, dInner);
          const queries = rowsAt(args.C as Tensor<'float32'>, b, j, dInner);
          for (let d = 0; d < dInner; d++) {
            let diagonal = 0;
            for (let n = 0; n < dState; n++) diagonal += queries[d * dState + n] * keys[d * dState + n];
            matrix.data[((b * dInner + d) * seqLen + j) * seqLen + j] = diagonal;
          }
          const rest = seqLen - 1 - j;
          if (rest === 0) return;
          const { y } = selectiveScan(k, {
            u: k.zeros([1, rest, dInner]),
            delta: after(k, delta, b, j),
            A,
            B: after(k, args.B, b, j),
            C: after(k, args.C, b, j),
            deltaBias,
            deltaSoftplus,
            initialState: k.tensor(keys, [1, dInner, dState]),
          });
          const column = y.data;
          const target = matrix.data;
          for (let i = j + 1; i < seqLen; i++) {
            for (let d = 0; d < dInner; d++) {
              target[((b * dInner + d) * seqLen + i) * seqLen + j] = column[(i - j - 1) * dInner + d];
            }
          }
        });
      }
    }
    return matrix;
  });
}

/** A sequence's steps after j, as a batch of one; X itself if it is constant. */
function after(k: Context, X: Tensor, b: number, j: number): Tensor {
  if (X.shape.length === 2) return X;
  const [, seqLen, ...rest] = X.shape;
  const row = rest.reduce((size, extent) => size * extent, 1);
  const data = X.data.slice((b * seqLen + j + 1) * row, (b + 1) * seqLen * row);
  return k.tensor(data as Float32Array, [1, seqLen - 1 - j, ...rest]);
}

/** The rows of B or C that act on each channel at step j, `[dInner, dState]`. */
function rowsAt(X: Tensor<'float32'>, b: number, j: number, dInner: number): Float32Array {
  if (X.shape.length === 2) return X.toArray();
  const dState = X.shape[X.shape.length - 1];
  const nGroups = X.shape.length === 4 ? X.shape[2] : 1;
  const rows = new Float32Array(dInner * dState);
  for (let d = 0; d < dInner; d++) {
    const group = Math.floor(d / (dInner / nGroups));
    const start = ((b * X.shape[1] + j) * nGroups + group) * dState;
    rows.set(X.data.subarray(start, start + dState), d * dState);
  }
  return rows;
}
