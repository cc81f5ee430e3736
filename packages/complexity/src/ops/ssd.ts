import { Expression, minimum, product, type Size, sum } from '../expression.js';
import { type Grain, numberOf, op, type Op } from './op.js';

/** State space duality with D, dtBias and softplus and without a gate, as Mamba-2 has it. */
export interface SsdSizes {
  batch: Size;
  seqLen: Size;
  nHeads: Size;
  headDim: Size;
  nGroups: Size;
  dState: Size;
  chunkSize?: Size;
  initialState?: boolean;
}

const DEFAULT_CHUNK = 40;
/** Shorter sequences go step by step. */
const SHORTEST_CHUNKED = 5;
const SHORTEST_CHUNK_BACKWARD = 16;

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

const up = (size: number, unit: number) => Math.ceil(size / unit) * unit;

/** A lower triangle of `length` steps in tiles of 5 rows and 8 columns: what is computed of it. */
function triangleOfTiles(length: number): number {
  let area = 0;
  for (let column = 0; column < length; column += 8) area += 8 * (up(length, 5) - (column - (column % 5)));
  return area;
}

/** Products of a row of tiles with what lies on and below the diagonal, and on and above it. */
function triangleProducts(length: number): { lower: number; upper: number } {
  let lower = 0;
  let upper = 0;
  for (let row = 0; row < length; row += 5) {
    const own = Math.min(5, length - row);
    const triangle = (own * (own + 1)) / 2;
    lower += 5 * row + triangle;
    upper += 5 * (length - row - own) + triangle;
  }
  return { lower, upper };
}

/** Elements that a matrix of decays is made from: rows up to the end of their tile, in fours. */
function decayElements(length: number): number {
  let count = 0;
  for (let i = 0; i < length; i++) count += up(i - (i % 5) + 5, 4);
  return count;
}

const chunkLengths = (seqLen: number, chunk: number): number[] =>
  Array.from({ length: Math.ceil(seqLen / chunk) }, (_, i) => Math.min(chunk, seqLen - i * chunk));

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
  const [length, P, H, G, N] = [seqLen, headDim, nHeads, nGroups, dState].map(numberOf);
  const chunk = Math.min(
    numberOf(sizes.chunkSize ?? (length < SHORTEST_CHUNKED ? 1 : DEFAULT_CHUNK)),
    length,
  );
  if (numberOf(sizes.chunkSize ?? (length < SHORTEST_CHUNKED ? 1 : DEFAULT_CHUNK)) === 1)
    return recurrent(sizes);
  const channels = up(P, 8);
  const states = up(N, 5);
  let macs = 0;
  let other = 0;
  let exps = 0;
  chunkLengths(length, chunk).forEach((l, index) => {
    const rows = up(l, 5);
    const padded = up(up(l, 5), 8);
    const goesOn = index > 0 || sizes.initialState === true;
    other += l * up(H, 4) * 2; // step sizes
    exps += l * up(H, 4) * 2;
    macs += G * triangleOfTiles(l) * N;
    macs += H * (channels * triangleProducts(l).lower + states * channels * l + l * up(P, 4));
    other += H * (2 * l + padded + 2 * decayElements(l) + 2 * channels * l);
    exps += H * (2 * padded + 4 + decayElements(l));
    if (goesOn) {
      macs += H * rows * channels * N;
      other += H * (rows * channels + states * channels);
    }
  });
  const b = numberOf(batch);
  return { ...op({ macs: b * macs, other: b * other, transcendentals: b * exps }), ...traffic(sizes) };
}

/** Step by step, in kernels. */
function recurrent(sizes: SsdSizes): Op {
  const [b, length, P, H, N] = [sizes.batch, sizes.seqLen, sizes.headDim, sizes.nHeads, sizes.dState].map(
    numberOf,
  );
  const steps = b * length * H;
  const lanes = up(P, 4);
  const cells = P * up(N, 4);
  return {
    ...op({
      macs: steps * (2 * cells + lanes),
      other: steps * (cells + 6 + lanes + 5 * lanes),
      transcendentals: steps * 12,
    }),
    ...traffic(sizes),
  };
}

export function ssdStep(g: Grain, sizes: Omit<SsdSizes, 'seqLen' | 'chunkSize'>): Op {
  const all = { ...sizes, seqLen: 1, initialState: true };
  if (g.kernel) return recurrent(all);
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
  const [b, length, P, H, G, N] = [batch, seqLen, headDim, nHeads, nGroups, dState].map(numberOf);
  const chunk = Math.min(
    Math.max(numberOf(sizes.chunkSize ?? DEFAULT_CHUNK), SHORTEST_CHUNK_BACKWARD),
    length,
  );
  const channels = up(P, 8);
  const states = up(N, 5);
  const wide = up(N, 8);
  const lengths = chunkLengths(length, chunk);
  let macs = 0;
  // step sizes, and their gradients
  let other = length * (up(H, 4) * 2 + up(H, 4) * 5 + H);
  let exps = length * up(H, 4) * 5;
  lengths.forEach((l, index) => {
    const rows = up(l, 5);
    const padded = up(up(l, 5), 8);
    const { lower, upper } = triangleProducts(l);
    const hasState = index > 0 || sizes.initialState === true;
    const hasGradient = index < lengths.length - 1;
    const decays = { other: 2 * l + padded, exps: 2 * padded + 4 };
    // Of each group.
    macs += G * (triangleOfTiles(l) * N + wide * (lower + upper));
    // Of each head: the state at the chunk's end.
    if (hasGradient) {
      macs += H * states * channels * l;
      other += H * (decays.other + 2 * channels * l + states * channels);
      exps += H * decays.exps;
    }
    other += H * (decays.other + 2 * channels * l);
    exps += H * (decays.exps + decayElements(l));
    macs += H * (triangleOfTiles(l) * P + decayElements(l));
    other += H * (5 * decayElements(l) + 5 * l);
    macs += H * channels * upper;
    if (hasGradient) {
      macs += H * (rows * channels * N + l * channels + rows * wide * P);
      other += H * (10 * l + rows * channels + channels * l);
    }
    if (hasState) {
      macs += H * (rows * wide * P + l * up(N, 4));
      other += H * l * (2 * up(N, 4) + 5);
      if (hasGradient) {
        macs += H * states * channels;
        other += H * 10;
      }
    }
    other += H * (4 * l + l * (up(P, 4) + 9) + 1 + channels);
    macs += H * l * 3 * up(P, 4);
    if (index > 0 || sizes.initialState) {
      macs += H * states * channels * l;
      other += H * (l * channels + (hasGradient ? states * channels : 0));
    }
  });
  return {
    ...op({ macs: b * macs, other: b * other + H * (channels + 5), transcendentals: b * exps }),
    ...moved,
  };
}
