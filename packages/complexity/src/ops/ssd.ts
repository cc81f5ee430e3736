import { Expression, minimum, product, sum } from '../expression.js';
import { type Grain, op, type Op } from './op.js';
import { DEFAULT_CHUNK, SHORTEST_CHUNK_BACKWARD, type SsdSizes } from './sizes.js';

export type { SsdSizes } from './sizes.js';

const elements = ({ batch, seqLen, nHeads, headDim, nGroups, dState }: SsdSizes) => ({
  x: product(batch, seqLen, nHeads, headDim),
  rows: sum(product(batch, seqLen, nHeads), product(2, batch, seqLen, nGroups, dState)), // dt, B and C
  weights: product(3, nHeads),
  state: product(batch, nHeads, headDim, dState),
});

const traffic = (sizes: SsdSizes) => {
  const { x, rows, weights, state } = elements(sizes);
  return {
    read: { activations: sum(x, rows), weights, ...(sizes.initialState && { state }) },
    written: { activations: x, state },
  };
};

/** Steps up to a chunk's length meet in a product of matrices, earlier ones by way of the state. */
export function ssd(g: Grain, sizes: SsdSizes): Op {
  const { batch, seqLen, nHeads, headDim, nGroups, dState } = sizes;
  if (!g.kernel) {
    const chunk = minimum(sizes.chunkSize ?? DEFAULT_CHUNK, seqLen);
    // Where the chunk divides the length.
    const pairs = product(batch, seqLen, sum(chunk, 1), 1 / 2);
    const heads = product(batch, seqLen, nHeads);
    return op({
      macs: sum(
        product(pairs, nGroups, dState), // C.B
        product(pairs, nHeads, headDim), // decayed, with X
        product(2, heads, headDim, dState), // from and to the state
        product(heads, headDim), // D
      ),
      other: sum(product(2, pairs, nHeads), product(3, heads, headDim), product(6, heads)),
      transcendentals: sum(product(pairs, nHeads), product(4, heads)),
      ...traffic(sizes),
    });
  }
  return { ...g.kernel.ssd(sizes), ...traffic(sizes) };
}

export function ssdStep(g: Grain, sizes: Omit<SsdSizes, 'seqLen' | 'chunkSize'>): Op {
  const all = { ...sizes, seqLen: 1, initialState: true };
  if (g.kernel) return { ...g.kernel.ssdRecurrent(all), ...traffic(all) };
  const { batch, nHeads, headDim, dState } = all;
  const heads = product(batch, nHeads);
  return op({
    macs: sum(product(2, heads, headDim, dState), product(heads, headDim)),
    other: sum(product(heads, headDim, dState), product(heads, headDim), product(3, heads)),
    transcendentals: product(3, heads),
    ...traffic(all),
  });
}

export function ssdBackward(g: Grain, sizes: SsdSizes): Op {
  const { batch, seqLen, nHeads, headDim, nGroups, dState } = sizes;
  const { x, rows: rowElements, weights } = elements(sizes);
  const moved = {
    read: { activations: sum(product(2, x), rowElements), weights },
    written: { activations: sum(x, rowElements), gradients: weights },
  };
  if (!g.kernel) {
    const least = Expression.of(sizes.chunkSize ?? DEFAULT_CHUNK).constant;
    const wanted = least === undefined ? sizes.chunkSize! : Math.max(least, SHORTEST_CHUNK_BACKWARD);
    const chunk = minimum(wanted, seqLen);
    const pairs = product(batch, seqLen, sum(chunk, 1), 1 / 2);
    const heads = product(batch, seqLen, nHeads);
    const acrossChunks = product(batch, sum(seqLen, product(-1, chunk)), nHeads);
    return op({
      macs: sum(
        product(3, pairs, nGroups, dState), // C.B, and its way back to both
        product(2, pairs, nHeads, headDim), // g.X, and S^T g
        product(pairs, nHeads), // summed over heads
        // the states again, and four ways by which gradients go through them: none crosses the outer end of the last
        // chunk, and none that of the first without an initial state
        product(5, acrossChunks, headDim, dState),
        product(5, heads, headDim),
        product(heads, dState),
      ),
      other: sum(
        product(5, pairs, nHeads),
        product(7, heads, headDim),
        product(2, heads, dState),
        product(25, heads),
      ),
      transcendentals: sum(product(pairs, nHeads), product(9, heads)),
      ...moved,
    });
  }
  return { ...g.kernel.ssdBackward(sizes), ...moved };
}
