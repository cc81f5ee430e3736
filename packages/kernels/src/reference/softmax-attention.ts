/**
 * Softmax attention (Vaswani et al. 2017, arXiv:1706.03762), with fewer key heads (Ainslie et al. 2023,
 * arXiv:2305.13245), ALiBi (Press et al. 2022, arXiv:2108.12409), windows and sparse patterns (Child et al. 2019,
 * arXiv:1904.10509).
 *
 *   q          [batch, qLen, nHeads, headDim]        alibiSlopes  [nHeads]
 *   k          [batch, kLen, nKvHeads, headDim]      v  [batch, kLen, nKvHeads, valueDim]
 *   o          [batch, qLen, nHeads, valueDim]
 *   logSumExp  [batch, nHeads, qLen]
 *
 * A step has no qLen and kLen; its caches are [batch, capacity, nKvHeads, headDim] and [.., valueDim].
 */
import type { SparsePattern } from '../softmax-attention-passes.js';
import type { Array64 } from './array64.js';

interface Args {
  q: Array64;
  k: Array64;
  v: Array64;
  causal?: boolean;
  scale?: number;
  window?: number;
  sparse?: SparsePattern;
  alibiSlopes?: Array64;
  queryOffset?: number;
  keyLengths?: number | readonly number[];
}

/** True if a sparse pattern lets the query at `position` see key `j <= position`. */
function inPattern(sparse: SparsePattern, position: number, j: number): boolean {
  const { stride } = sparse;
  if (sparse.pattern === 'strided') return position - j < stride || (position - j) % stride === 0;
  const sameBlock = Math.floor(j / stride) === Math.floor(position / stride);
  return sameBlock || j % stride >= stride - sparse.summary;
}

/**
 * `o[t] = sum_j p[t,j] v[j]`, `p[t,j] = e^s[t,j] / sum_j e^s[t,j]`, `s[t,j] = scale q[t] . k[j] - slope (position - j)`,
 * over the keys that query t, at position queryOffset + t, sees.
 */
export function softmaxAttention(args: Args): { o: Array64; logSumExp: Array64 } {
  const { q, k, v, causal = false, window = Infinity, sparse, alibiSlopes: slopes, queryOffset = 0 } = args;
  const [batch, qLen, nHeads, headDim] = q.shape;
  const [, kLen, nKvHeads, valueDim] = v.shape;
  const { scale = 1 / Math.sqrt(headDim), keyLengths = kLen } = args;
  const o = new Float64Array(batch * qLen * nHeads * valueDim);
  const logSumExp = new Float64Array(batch * nHeads * qLen);
  for (let b = 0; b < batch; b++) {
    const keyLength = typeof keyLengths === 'number' ? keyLengths : keyLengths[b];
    for (let h = 0; h < nHeads; h++) {
      const kv = Math.floor(h / (nHeads / nKvHeads));
      for (let t = 0; t < qLen; t++) {
        const position = queryOffset + t;
        const scores: { j: number; score: number }[] = [];
        for (let j = 0; j < keyLength; j++) {
          if (causal && j > position) continue;
          if (position - j >= window) continue;
          if (sparse !== undefined && !inPattern(sparse, position, j)) continue;
          let score = 0;
          for (let d = 0; d < headDim; d++) {
            score +=
              q.data[((b * qLen + t) * nHeads + h) * headDim + d] *
              k.data[((b * kLen + j) * nKvHeads + kv) * headDim + d];
          }
          score *= scale;
          if (slopes !== undefined) score -= slopes.data[h] * (position - j);
          scores.push({ j, score });
        }
        const max = scores.reduce((most, { score }) => Math.max(most, score), -Infinity);
        const total = scores.reduce((sum, { score }) => sum + Math.exp(score - max), 0);
        logSumExp[(b * nHeads + h) * qLen + t] = scores.length === 0 ? -Infinity : max + Math.log(total);
        for (const { j, score } of scores) {
          const p = Math.exp(score - max) / total;
          for (let d = 0; d < valueDim; d++) {
            o[((b * qLen + t) * nHeads + h) * valueDim + d] +=
              p * v.data[((b * kLen + j) * nKvHeads + kv) * valueDim + d];
          }
        }
      }
    }
  }
  return {
    o: { shape: [batch, qLen, nHeads, valueDim], data: o },
    logSumExp: { shape: [batch, nHeads, qLen], data: logSumExp },
  };
}

/** One batch item, under another shape. */
function item({ shape, data }: Array64, b: number, itemShape: number[]): Array64 {
  const size = data.length / shape[0];
  return { shape: itemShape, data: data.slice(b * size, (b + 1) * size) };
}

/** The new key and value go to index `length` of the caches; then causal attention of one query at that position. */
export function softmaxAttentionStep(
  args: Omit<Args, 'causal' | 'queryOffset' | 'keyLengths'> & {
    kCache: Array64;
    vCache: Array64;
    length: number | readonly number[];
  },
): { y: Array64; kCache: Array64; vCache: Array64 } {
  const { q, k, v, length, ...options } = args;
  const [batch, nHeads, headDim] = q.shape;
  const [, capacity, nKvHeads, valueDim] = args.vCache.shape;
  const kCache = { shape: args.kCache.shape, data: args.kCache.data.slice() };
  const vCache = { shape: args.vCache.shape, data: args.vCache.data.slice() };
  const y = { shape: [batch, nHeads, valueDim], data: new Float64Array(batch * nHeads * valueDim) };
  for (let b = 0; b < batch; b++) {
    const at = typeof length === 'number' ? length : length[b];
    kCache.data.set(item(k, b, [nKvHeads, headDim]).data, (b * capacity + at) * nKvHeads * headDim);
    vCache.data.set(item(v, b, [nKvHeads, valueDim]).data, (b * capacity + at) * nKvHeads * valueDim);
    const { o } = softmaxAttention({
      ...options,
      q: item(q, b, [1, 1, nHeads, headDim]),
      k: item(kCache, b, [1, capacity, nKvHeads, headDim]),
      v: item(vCache, b, [1, capacity, nKvHeads, valueDim]),
      causal: true,
      queryOffset: at,
      keyLengths: at + 1,
    });
    y.data.set(o.data, b * nHeads * valueDim);
  }
  return { y, kCache, vCache };
}

/** `2^(-8 (h + 1) / n)` for the largest power of two `n <= nHeads`, then every other one of those of `2 n`. */
export function alibiSlopes({ nHeads }: { nHeads: number }): Array64 {
  const n = 2 ** Math.floor(Math.log2(nHeads));
  const data = Float64Array.from({ length: nHeads }, (_, h) =>
    h < n ? 2 ** ((-8 * (h + 1)) / n) : 2 ** ((-8 * (2 * (h - n) + 1)) / (2 * n)),
  );
  return { shape: [nHeads], data };
}
