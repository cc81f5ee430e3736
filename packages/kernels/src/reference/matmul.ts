/**
 * Matrix product, by its definition.
 *
 *   a  [..., m, k], transposed [..., k, m]      bias  [n]
 *   b  [k, n] or [..., k, n], transposed [n, k] or [..., n, k]; quantised [n, k]
 *   y  [..., m, n]
 */
import type { Array64 } from './array64.js';
import { dequantize, type QuantizedArray } from './quantization.js';

/** `y = op(a) op(b) + bias` for each matrix of the batch; op transposes where asked. */
export function matmul({
  a,
  b: given,
  transposeA = false,
  transposeB = false,
  bias,
}: {
  a: Array64;
  b: Array64 | QuantizedArray;
  transposeA?: boolean;
  transposeB?: boolean;
  bias?: Array64;
}): Array64 {
  const b = 'bytes' in given ? dequantize({ x: given }) : given;
  const leading = a.shape.slice(0, -2);
  const batch = leading.reduce((x, y) => x * y, 1);
  const [rowsA, columnsA] = a.shape.slice(-2);
  const [rowsB, columnsB] = b.shape.slice(-2);
  const [m, k] = transposeA ? [columnsA, rowsA] : [rowsA, columnsA];
  const n = transposeB ? rowsB : columnsB;
  const data = new Float64Array(batch * m * n);
  for (let matrix = 0; matrix < batch; matrix++) {
    const startA = matrix * m * k;
    const startB = b.shape.length === 2 ? 0 : matrix * k * n;
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let total = bias === undefined ? 0 : bias.data[j];
        for (let p = 0; p < k; p++) {
          const x = a.data[startA + (transposeA ? p * m + i : i * k + p)];
          const y = b.data[startB + (transposeB ? j * k + p : p * n + j)];
          total += x * y;
        }
        data[(matrix * m + i) * n + j] = total;
      }
    }
  }
  return { shape: [...leading, m, n], data };
}
