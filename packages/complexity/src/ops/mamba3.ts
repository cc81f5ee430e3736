import { Expression, minimum, product, type Size, sum } from '../expression.js';
import { type Grain, op, type Op } from './op.js';

/**
 * The state space of Mamba-3 with D, biases of dt, B and C, softplus and angles that all heads share, as its block has it.
 * For either grain the formulas say what the algorithm needs.
 */
export interface Mamba3Sizes {
  batch: Size;
  seqLen: Size;
  nHeads: Size;
  headDim: Size;
  nRanks: Size;
  nGroups: Size;
  dState: Size;
  nAngles: Size;
  /** Whether x has a scale per rank. */
  mimo?: boolean;
  /** Steps of a chunk. */
  chunkSize: Size;
  initialState?: boolean;
}

const elements = (sizes: Mamba3Sizes) => {
  const { batch, seqLen, nHeads, headDim, nRanks, nGroups, dState, nAngles, mimo = false } = sizes;
  const tokens = product(batch, seqLen);
  return {
    x: product(tokens, nHeads, headDim),
    y: product(tokens, nHeads, nRanks, headDim),
    /** dt, A, trap, B, C and the angles. */
    rows: product(tokens, sum(product(3, nHeads), product(2, nRanks, nGroups, dState), nAngles)),
    weights: product(nHeads, sum(2, product(2, nRanks, dState), ...(mimo ? [product(nRanks, headDim)] : []))),
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

/** Per token and head: step sizes and rates, angles, biases and rotation of B and C, inputs by rank. */
function preparing({ nHeads, headDim, nRanks, dState, nAngles, mimo = false }: Mamba3Sizes) {
  const turned = product(2, nRanks, nAngles); // planes of B and C
  return {
    macs: product(nHeads, sum(nAngles, product(2, turned))),
    other: sum(
      product(3, nAngles),
      product(
        nHeads,
        sum(12, product(2, turned), product(2, nRanks, dState), ...(mimo ? [product(nRanks, headDim)] : [])),
      ),
    ),
    transcendentals: sum(nAngles, product(nHeads, sum(3, product(2, nAngles)))),
  };
}

/** Steps up to a chunk's length meet in a product of matrices, earlier ones by way of the state. */
export function mamba3(_: Grain, sizes: Mamba3Sizes): Op {
  const { batch, seqLen, nHeads, headDim, nRanks, dState, chunkSize } = sizes;
  const tokens = product(batch, seqLen);
  const chunk = minimum(chunkSize, seqLen);
  const pairs = product(tokens, nHeads, sum(chunk, 1), 1 / 2); // of steps, where the chunk divides the length
  const before = preparing(sizes);
  const heads = product(tokens, nHeads);
  return op({
    macs: sum(
      product(tokens, before.macs),
      product(pairs, nRanks, nRanks, sum(dState, headDim)), // C.B, decayed, with x
      product(2, heads, nRanks, headDim, dState), // from and to the state
      product(heads, nRanks, headDim), // D
    ),
    other: sum(
      product(tokens, before.other),
      product(2, pairs, nRanks, nRanks),
      product(3, heads, nRanks, headDim),
    ),
    transcendentals: sum(product(tokens, before.transcendentals), pairs, heads),
    ...traffic(sizes),
  });
}

/** B and x of the step before enter, then those of the step. */
export function mamba3Step(_: Grain, sizes: Omit<Mamba3Sizes, 'seqLen' | 'chunkSize'>): Op {
  const all = { ...sizes, seqLen: 1, chunkSize: 1, initialState: true };
  const { batch, nHeads, headDim, nRanks, dState } = all;
  const before = preparing(all);
  const heads = product(batch, nHeads);
  return op({
    macs: sum(
      product(batch, before.macs),
      product(3, heads, nRanks, headDim, dState),
      product(heads, nRanks, headDim),
    ),
    other: sum(
      product(batch, before.other),
      product(heads, headDim, dState),
      product(2, heads, nRanks, headDim),
    ),
    transcendentals: sum(product(batch, before.transcendentals), heads),
    ...traffic(all),
  });
}

export function mamba3Backward(_: Grain, sizes: Mamba3Sizes): Op {
  const { batch, seqLen, nHeads, headDim, nRanks, dState, chunkSize } = sizes;
  const { x, y, rows, weights } = elements(sizes);
  const tokens = product(batch, seqLen);
  const chunk = minimum(chunkSize, seqLen);
  const pairs = product(tokens, nHeads, sum(chunk, 1), 1 / 2);
  const before = preparing(sizes);
  const heads = product(tokens, nHeads);
  const acrossChunks = product(batch, sum(seqLen, Expression.of(chunk).times(-1)), nHeads, nRanks);
  return op({
    macs: sum(
      product(3, tokens, before.macs), // again, and its gradients
      product(pairs, nRanks, nRanks, sum(product(3, dState), product(2, headDim))),
      product(5, acrossChunks, headDim, dState), // the states again, and four ways by which gradients go through them
      product(5, heads, nRanks, headDim),
    ),
    other: sum(
      product(3, tokens, before.other),
      product(5, pairs, nRanks, nRanks),
      product(7, heads, nRanks, headDim),
    ),
    transcendentals: sum(product(tokens, before.transcendentals), pairs, heads),
    read: { activations: sum(x, y, rows), weights },
    written: { activations: sum(x, rows), gradients: weights },
  });
}

export interface Mamba3GateSizes {
  rows: Size;
  nHeads: Size;
  nRanks: Size;
  headDim: Size;
  /** Whether there is a norm. */
  norm?: boolean;
  /** Whether ranks have scales of z and of what they give. */
  mimo?: boolean;
}

const gateElements = ({ rows, nHeads, nRanks, headDim, norm = false, mimo = false }: Mamba3GateSizes) => ({
  x: product(rows, nHeads, nRanks, headDim),
  z: product(rows, nHeads, headDim),
  means: product(rows, nHeads, nRanks),
  weights: product(nHeads, headDim, sum(norm ? 1 : 0, ...(mimo ? [product(2, nRanks)] : []))),
});

/** Norm, gate and the sum over ranks. */
export function mamba3Gate(_: Grain, sizes: Mamba3GateSizes): Op {
  const { norm = false, mimo = false } = sizes;
  const { x, z, means, weights } = gateElements(sizes);
  return op({
    macs: sum(...(norm ? [x] : []), ...(mimo ? [x] : [])),
    other: sum(product(3, x), ...(norm ? [product(2, x), product(4, means)] : []), ...(mimo ? [x] : [])),
    transcendentals: x,
    read: { activations: sum(x, z), weights },
    written: { activations: z },
  });
}

export function mamba3GateBackward(_: Grain, sizes: Mamba3GateSizes): Op {
  const { norm = false, mimo = false } = sizes;
  const { x, z, means, weights } = gateElements(sizes);
  return op({
    macs: sum(x, ...(norm ? [product(4, x)] : []), ...(mimo ? [product(3, x)] : [])),
    other: sum(product(8, x), ...(norm ? [product(4, x), product(7, means)] : []), ...(mimo ? [x] : [])),
    transcendentals: x,
    read: { activations: sum(x, product(2, z)), weights },
    written: { activations: sum(x, z), gradients: weights },
  });
}
