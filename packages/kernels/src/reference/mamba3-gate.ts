import type { Array64 } from './array64.js';

/**
 * What follows the state space in a Mamba-3 block: norm, gate, and the sum over ranks.
 *
 *   y[h] = sum_r mimoO[h, r] n(x[h, r]) silu(z[h] mimoZ[h, r])
 *
 * n is the root mean square norm over headDim times `weight`, or x itself if there is no weight.
 */
export function mamba3Gate(args: {
  x: Array64;
  z: Array64;
  weight?: Array64;
  eps?: number;
  mimoZ?: Array64;
  mimoO?: Array64;
}): Array64 {
  const { x, z, weight, eps = 1e-5, mimoZ, mimoO } = args;
  const [nHeads, nRanks, headDim] = x.shape.slice(-3);
  const y = new Float64Array(z.data.length);
  for (let row = 0; row < x.data.length / headDim; row++) {
    const r = row % nRanks;
    const head = Math.floor(row / nRanks); // of all tokens
    const h = head % nHeads;
    const values = x.data.subarray(row * headDim, (row + 1) * headDim);
    const scale = weight
      ? 1 / Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / headDim + eps)
      : 1;
    for (let p = 0; p < headDim; p++) {
      const ofRank = (h * nRanks + r) * headDim + p;
      const gate = z.data[head * headDim + p] * (mimoZ?.data[ofRank] ?? 1);
      const normed = values[p] * scale * (weight?.data[h * headDim + p] ?? 1);
      y[head * headDim + p] += ((mimoO?.data[ofRank] ?? 1) * normed * gate) / (1 + Math.exp(-gate));
    }
  }
  return { shape: z.shape, data: y };
}
