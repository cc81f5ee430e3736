/**
 * Softmax attention of one sequence, its matrix never stored (softmax in one go: Milakov & Gimelshein 2018,
 * arXiv:1805.02867; tiles: Rabe & Staats 2021, arXiv:2112.05682; backward from logSumExp: Dao 2023,
 * arXiv:2307.08691).
 *
 *   s[t,j] = scale q[t] . k[j] - slope (queryOffset + t - j)        for the keys j that query t sees
 *   logSumExp[t] = ln sum_j e^s[t,j]      p[t,j] = e^(s[t,j] - logSumExp[t])      o[t] = sum_j p[t,j] v[j]
 *
 *   q, dq  [qLen, nHeads, headDim]      o, dO  [qLen, nHeads, valueDim]      logSumExp    [nHeads, qLen]
 *   k, dk  [kLen, nKvHeads, headDim]    v, dv  [kLen, nKvHeads, valueDim]    alibiSlopes  [nHeads] or absent
 *
 * The work is one or more passes: the queries listed in `queries` [queryCount] meet the keys listed in `keys`, and query
 * number n sees the key numbers from[n] <= j < to[n]. Masks and windows are one such pass; a sparse pattern takes
 * several, in two calls: the second adds its keys to what `o` and `logSumExp` already hold (`continued`). Each array above
 * is one of a batch, and a call takes passes of all its items.
 *
 * `table` says how passes are cut: see Part, in pass.ts. A unit is a part for one key head and the query heads that
 * share it; a call computes the units first <= u < first + count. The bits of o, logSumExp and dq do not depend on how a
 * pass is cut between tiles of queries; those of dk and dv do.
 *
 * The caller guarantees: from and to do not fall; to is at most the number of keys; the four lists are readable up to a
 * multiple of 8 elements, and from and to hold 0 there; no key comes twice for a query; passes of a call share neither
 * queries nor keys of an item, so that no two units write the same place; parts start at multiples of 64 queries; nHeads
 * is a multiple of nKvHeads; scratch has as many bytes as `...ScratchBytes` says. A query without keys gets
 * o = 0 and logSumExp = -inf.
 *
 * Lanes run along queries, eight side by side, a panel: [.., 8] below. So maxima, sums and masks are vertical.
 *
 * What a query does not see reaches nothing of it, NaN and infinity included. A weight of 0 masks finite numbers alone:
 * where others are about, products leave out the pairs that are not seen, on the edges where not all queries of a tile
 * see the same keys. To do so always took 6 % longer at 64 steps, and 38 % in sparse patterns.
 */
export { softmaxAttentionForward, softmaxAttentionForwardScratchBytes } from './softmax-attention/forward';
export {
  softmaxAttentionBackward,
  softmaxAttentionBackwardScratchBytes,
  softmaxAttentionBackwardSums,
  softmaxAttentionBackwardPartialFloats,
} from './softmax-attention/backward';
export { softmaxAttentionWeights, softmaxAttentionWeightsScratchBytes } from './softmax-attention/one-row';
export {
  softmaxAttentionAppend,
  softmaxAttentionStep,
  softmaxAttentionStepScratchBytes,
} from './softmax-attention/step';
