import { Expression, minimum, product, sum } from '../expression.js';
import { type Grain, op, type Op } from './op.js';
import { MAMBA3_CHUNK_ROWS, MAMBA3_SHORTEST_CHUNK_BACKWARD, type Mamba3Sizes } from './sizes.js';

export type { Mamba3Sizes } from './sizes.js';

const elements = (sizes: Mamba3Sizes) => {
  const { batch, seqLen, nHeads, headDim, nGroups, nRanks, dState, nAngles } = sizes;
  const tokens = product(batch, seqLen);
  return {
    x: product(tokens, nHeads, headDim),
    y: product(tokens, nHeads, nRanks, headDim),
    // dt, A and trap; B and C; angles
    rows: sum(
      product(3, tokens, nHeads),
      product(2, tokens, nRanks, nGroups, dState),
      product(tokens, sizes.ownAngles ? nHeads : 1, nAngles),
    ),
    weights: sum(
      product(2, nHeads, nRanks, dState),
      product(2, nHeads),
      sizes.mimo ? product(nHeads, nRanks, headDim) : 0,
    ),
    state: product(batch, nHeads, sum(nAngles, product(headDim, dState), product(nRanks, dState), headDim)),
  };
};

const traffic = (sizes: Mamba3Sizes) => {
  const { x, y, rows, weights, state } = elements(sizes);
  return {
    read: { activations: sum(x, rows), weights, ...(sizes.initialState && { state }) },
    written: { activations: y, state },
  };
};

/** Steps of a chunk, at least `least`. */
function chunkOf({ chunkSize, nRanks, seqLen }: Mamba3Sizes, least: number): Expression {
  const ranks = Expression.of(nRanks).constant ?? 1;
  const wanted = chunkSize ?? Math.max(1, Math.floor(MAMBA3_CHUNK_ROWS / ranks));
  const constant = Expression.of(wanted).constant;
  return minimum(constant === undefined ? wanted : Math.max(constant, least), seqLen);
}

/** Work of each step and head outside of products with states and other rows: step sizes, angles, biases and rotations. */
function perStep({ headDim, nRanks, dState, nAngles, mimo }: Mamba3Sizes) {
  return {
    macs: product(4, nRanks, nAngles),
    other: sum(
      product(8, nAngles),
      product(2, nRanks, sum(dState, product(2, nAngles))),
      mimo ? product(nRanks, headDim) : 0,
      25,
    ),
    transcendentals: sum(product(2, nAngles), 6),
  };
}

/** Steps up to a chunk's length meet in a product of matrices, earlier ones by way of the state. */
export function mamba3(g: Grain, sizes: Mamba3Sizes): Op {
  if (g.kernel) return { ...g.kernel.mamba3(sizes), ...traffic(sizes) };
  const { batch, seqLen, nHeads, headDim, nRanks, dState } = sizes;
  const heads = product(batch, seqLen, nHeads);
  const rows = product(heads, nRanks);
  // Where the chunk divides the length.
  const pairs = product(rows, nRanks, sum(chunkOf(sizes, 1), 1), 1 / 2);
  const own = perStep(sizes);
  return op({
    macs: sum(
      product(pairs, sum(dState, headDim)), // C'.B', weighted, with v
      product(2, rows, headDim, dState), // from and to the state
      product(rows, headDim), // D
      product(heads, own.macs),
    ),
    other: sum(product(3, pairs), product(2, rows, headDim), product(heads, own.other)),
    transcendentals: sum(pairs, product(heads, own.transcendentals)),
    ...traffic(sizes),
  });
}

export function mamba3Step(g: Grain, sizes: Omit<Mamba3Sizes, 'seqLen' | 'chunkSize'>): Op {
  const all = { ...sizes, seqLen: 1, initialState: true };
  if (g.kernel) return { ...g.kernel.mamba3Recurrent(all), ...traffic(all) };
  const { batch, nHeads, headDim, nRanks, dState } = all;
  const heads = product(batch, nHeads);
  const own = perStep(all);
  return op({
    macs: sum(product(3, heads, nRanks, headDim, dState), product(heads, own.macs)),
    other: sum(
      product(heads, headDim, dState),
      product(5, heads, nRanks, headDim),
      product(heads, own.other),
    ),
    transcendentals: product(heads, own.transcendentals),
    ...traffic(all),
  });
}

/** From no initial state. */
export function mamba3Backward(g: Grain, sizes: Mamba3Sizes): Op {
  const { x, y, rows: inputs, weights } = elements(sizes);
  const moved = {
    read: { activations: sum(x, y, inputs), weights },
    written: { activations: sum(x, inputs), gradients: weights },
  };
  if (g.kernel) return { ...g.kernel.mamba3Backward(sizes), ...moved };
  const { batch, seqLen, nHeads, headDim, nRanks, dState } = sizes;
  const chunk = chunkOf(sizes, MAMBA3_SHORTEST_CHUNK_BACKWARD);
  const heads = product(batch, seqLen, nHeads);
  const rows = product(heads, nRanks);
  const pairs = product(rows, nRanks, sum(chunk, 1), 1 / 2);
  const acrossChunks = product(batch, sum(seqLen, product(-1, chunk)), nHeads, nRanks);
  const own = perStep(sizes);
  return op({
    macs: sum(
      product(3, pairs, dState), // C'.B', and its way back to both
      product(2, pairs, headDim), // g.v, and S^T g
      // the states again, and four ways by which gradients go through them
      product(5, acrossChunks, headDim, dState),
      product(4, rows, headDim),
      product(rows, dState),
      product(3, heads, own.macs),
    ),
    other: sum(product(9, pairs), product(4, rows, sum(headDim, dState)), product(3, heads, own.other)),
    transcendentals: sum(pairs, product(heads, own.transcendentals)),
    ...moved,
  });
}
