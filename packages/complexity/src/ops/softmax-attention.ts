import { product, type Size, sum } from '../expression.js';
import { type Grain, numberOf, op, type Op } from './op.js';
import type { AttentionSizes } from './sizes.js';
import { visibleKeys, visiblePairs } from './visible-keys.js';

export type { AttentionSizes } from './sizes.js';
export { visibleKeys, visiblePairs } from './visible-keys.js';

const elements = ({ batch, seqLen, nHeads, nKvHeads, headDim, valueDim = headDim }: AttentionSizes) => ({
  q: product(batch, seqLen, nHeads, headDim),
  kv: product(batch, seqLen, nKvHeads, sum(headDim, valueDim)),
  o: product(batch, seqLen, nHeads, valueDim),
  sums: product(batch, nHeads, seqLen),
});

/** Causal attention of whole sequences. Scores that a mask takes out are computed in kernels, and not in the formula. */
export function softmaxAttention(g: Grain, sizes: AttentionSizes, cached = false): Op {
  const { batch, seqLen, nHeads, headDim, valueDim = headDim, alibi = false } = sizes;
  const { q, kv, o, sums } = elements(sizes);
  const traffic = {
    read: cached ? { activations: q, state: kv } : { activations: sum(q, kv) },
    written: { activations: sum(o, sums) },
  };
  const heads = product(batch, nHeads);
  if (!g.kernel) {
    const pairs = product(heads, visiblePairs(seqLen, sizes));
    return op({
      macs: product(pairs, sum(headDim, valueDim, alibi ? 1 : 0)),
      other: sum(product(2, pairs), q, o, product(2, heads, seqLen)),
      transcendentals: sum(pairs, product(heads, seqLen)),
      ...traffic,
    });
  }
  return { ...g.kernel.softmaxAttention(sizes), ...traffic };
}

export function softmaxAttentionBackward(g: Grain, sizes: AttentionSizes): Op {
  const { batch, seqLen, nHeads, headDim, valueDim = headDim, alibi = false } = sizes;
  const { q, kv, o, sums } = elements(sizes);
  const traffic = {
    read: { activations: sum(q, product(2, o), kv, sums) },
    written: { activations: sum(q, kv) },
  };
  const heads = product(batch, nHeads);
  if (!g.kernel) {
    const pairs = product(heads, visiblePairs(seqLen, sizes));
    return op({
      macs: sum(product(pairs, sum(product(3, headDim), product(2, valueDim), alibi ? 1 : 0)), o),
      other: sum(product(3, pairs), product(2, q)),
      transcendentals: pairs,
      ...traffic,
    });
  }
  return { ...g.kernel.softmaxAttentionBackward(sizes), ...traffic };
}

/** One new token of each sequence, at `position`: its key and value go into the cache. */
export function softmaxAttentionStep(g: Grain, sizes: Omit<AttentionSizes, 'seqLen'>, position: Size): Op {
  const { batch, nHeads, headDim, valueDim = headDim, alibi = false } = sizes;
  const all = { ...sizes, seqLen: 1 };
  const { q, kv, o } = elements(all);
  const keys = visibleKeys(position, sizes);
  const traffic = {
    read: { activations: sum(q, kv), state: product(kv, keys) },
    written: { activations: o, state: kv },
  };
  const heads = product(batch, nHeads);
  if (!g.kernel) {
    return op({
      macs: product(heads, keys, sum(headDim, valueDim, alibi ? 1 : 0)),
      other: sum(product(heads, keys, 3), product(heads, sum(valueDim, 2))),
      transcendentals: product(heads, sum(keys, 1)),
      ...traffic,
    });
  }
  return { ...g.kernel.softmaxAttentionStep(all, numberOf(position)), ...traffic };
}
