/** What the kernels of SSD execute, in tiles of 5 x 8. */
import { numberOf, op, type Op } from '../op.js';
import { DEFAULT_CHUNK, SHORTEST_CHUNK_BACKWARD, type SsdSizes } from '../sizes.js';
import { up } from './round.js';

/** Shorter sequences go step by step. */
export const SHORTEST_CHUNKED = 5;

/** Into as many parts the backward pass is cut at least, if there are as many heads. */
export const BACKWARD_UNITS = 8;

const numbersOf = ({ batch, seqLen, headDim, nHeads, nGroups, dState }: SsdSizes): number[] =>
  [batch, seqLen, headDim, nHeads, nGroups, dState].map(numberOf);

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

export const chunkLengths = (seqLen: number, chunk: number): number[] =>
  Array.from({ length: Math.ceil(seqLen / chunk) }, (_, i) => Math.min(chunk, seqLen - i * chunk));

export function ssd(sizes: SsdSizes): Op {
  const [b, length, P, H, G, N] = numbersOf(sizes);
  const wanted = numberOf(sizes.chunkSize ?? (length < SHORTEST_CHUNKED ? 1 : DEFAULT_CHUNK));
  if (wanted === 1) return ssdRecurrent(sizes);
  const channels = up(P, 8);
  const states = up(N, 5);
  let macs = 0;
  let other = 0;
  let exps = 0;
  chunkLengths(length, Math.min(wanted, length)).forEach((l, index) => {
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
  return op({ macs: b * macs, other: b * other, transcendentals: b * exps });
}

/** Step by step. */
export function ssdRecurrent(sizes: SsdSizes): Op {
  const [b, length, P, H, , N] = numbersOf(sizes);
  const steps = b * length * H;
  const lanes = up(P, 4);
  const cells = P * up(N, 4);
  return op({
    macs: steps * (2 * cells + lanes),
    other: steps * (cells + 6 + lanes + 5 * lanes),
    transcendentals: steps * 12,
  });
}

export function ssdBackward(sizes: SsdSizes): Op {
  const [b, length, P, H, G, N] = numbersOf(sizes);
  const chunk = Math.min(
    Math.max(numberOf(sizes.chunkSize ?? DEFAULT_CHUNK), SHORTEST_CHUNK_BACKWARD),
    length,
  );
  const channels = up(P, 8);
  const states = up(N, 5);
  const wide = up(N, 8);
  const lengths = chunkLengths(length, chunk);
  let macs = 0;
  // The heads of a group come in bundles, whose sums for B and C are added up.
  const headsOfGroup = H / G;
  const mostBundles = Math.min(headsOfGroup, Math.ceil(BACKWARD_UNITS / (b * G)));
  const bundleHeads = Math.ceil(headsOfGroup / mostBundles);
  const bundles = Math.ceil(headsOfGroup / bundleHeads);
  const restHeads = headsOfGroup - (bundles - 1) * bundleHeads;
  const headLanes = G * ((bundles - 1) * up(bundleHeads, 4) + up(restHeads, 4));
  const paddedChunk = up(up(chunk, 5), 8);
  // step sizes, and their gradients
  let other = length * (headLanes * 2 + headLanes * 5 + H);
  let exps = length * headLanes * 5;
  lengths.forEach((l, index) => {
    const rows = up(l, 5);
    const padded = up(up(l, 5), 8);
    const { lower, upper } = triangleProducts(l);
    const hasState = index > 0 || sizes.initialState === true;
    const hasGradient = index < lengths.length - 1;
    const decays = { other: 2 * l + padded, exps: 2 * padded + 4 };
    // Of each group.
    macs += G * (triangleOfTiles(l) * N + wide * (lower + upper));
    other += G * (bundles - 1) * paddedChunk * (paddedChunk + 2 * wide);
    // Of each head: the state at the chunk's end.
    if (hasGradient) {
      macs += H * states * channels * l;
      other += H * (decays.other + 2 * channels * l + states * channels);
      exps += H * decays.exps;
    }
    other += H * (decays.other + 2 * channels * l);
    exps += H * (decays.exps + decayElements(l));
    macs += H * (triangleOfTiles(l) * P + decayElements(l));
    other += H * (5 * decayElements(l) + 3 * l);
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
  return op({
    macs: b * macs,
    other: b * (other + H * (channels + 2)) + H * (channels + 5),
    transcendentals: b * exps,
  });
}
