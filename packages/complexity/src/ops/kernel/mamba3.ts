/** What the kernels of Mamba-3 execute, in tiles of 5 x 8: rows, nRanks per step, take the place of SSD's steps. */
import { numberOf, op, type Op } from '../op.js';
import { MAMBA3_CHUNK_ROWS, MAMBA3_SHORTEST_CHUNK_BACKWARD, type Mamba3Sizes } from '../sizes.js';
import { up } from './round.js';
import { BACKWARD_UNITS, chunkLengths, SHORTEST_CHUNKED } from './ssd.js';

/** Operations of one thing: multiply-adds, other FLOPs, and calls of exp and the like. */
interface Work {
  macs: number;
  other: number;
  exps: number;
}

/** Adds up what is done how often. */
class Total implements Work {
  macs = 0;
  other = 0;
  exps = 0;

  add(times: number, { macs = 0, other = 0, exps = 0 }: Partial<Work>): void {
    this.macs += times * macs;
    this.other += times * other;
    this.exps += times * exps;
  }

  get op(): Op {
    return op({ macs: this.macs, other: this.other, transcendentals: this.exps });
  }
}

interface Shape {
  batch: number;
  length: number;
  heads: number;
  headDim: number;
  groups: number;
  ranks: number;
  dState: number;
  nAngles: number;
  /** Whether there is mimoX, and planes lie half a row apart. */
  half: boolean;
  own: boolean;
  initial: boolean;
  /** In whole tiles and vectors. */
  channels: number;
  states: number;
  wide: number;
  row: number;
  angles: number;
}

function shapeOf(sizes: Mamba3Sizes): Shape {
  const { batch, seqLen, nHeads, headDim, nGroups, nRanks, dState, nAngles } = sizes;
  const [P, N, S] = [headDim, dState, nAngles].map(numberOf);
  return {
    batch: numberOf(batch),
    length: numberOf(seqLen),
    heads: numberOf(nHeads),
    headDim: P,
    groups: numberOf(nGroups),
    ranks: numberOf(nRanks),
    dState: N,
    nAngles: S,
    half: sizes.mimo === true,
    own: sizes.ownAngles === true,
    initial: sizes.initialState === true,
    channels: up(P, 8),
    states: up(N, 5),
    wide: up(N, 8),
    row: up(N, 4),
    angles: up(S, 4),
  };
}

const chunkOf = (sizes: Mamba3Sizes, ranks: number): number =>
  numberOf(sizes.chunkSize ?? Math.max(1, Math.floor(MAMBA3_CHUNK_ROWS / ranks)));

/** First row of the step that a row belongs to. */
const startOfStep = (row: number, ranks: number): number => row - (row % ranks);

/** What is computed of the pairs of rows, in tiles. */
function areaOfPairs(rows: number, ranks: number): number {
  let area = 0;
  for (let column = 0; column < rows; column += 8) {
    area += 8 * (up(rows, 5) - 5 * Math.floor(startOfStep(column, ranks) / 5));
  }
  return area;
}

/** Products of rows with what their own and earlier steps give, and with their own and later ones. */
function triangles(rows: number, ranks: number): { lower: number; upper: number } {
  let lower = 0;
  let upper = 0;
  for (let row = 0; row < rows; row += 5) {
    const end = Math.min(row + 5, rows);
    lower += 5 * row;
    upper += 5 * (rows - end);
    for (let i = row; i < end; i++) {
      const start = startOfStep(i, ranks);
      lower += Math.min(start + ranks, rows) - row;
      upper += end - start;
    }
  }
  return { lower, upper };
}

/** Elements that decays are made of: rows up to the end of their tile or step, in fours. */
function decayElements(rows: number, ranks: number): number {
  let count = 0;
  for (let i = 0; i < rows; i++) count += up(Math.max(i - (i % 5) + 5, startOfStep(i, ranks) + ranks), 4);
  return count;
}

/** Sizes, rates and weights of so many steps of a head. */
const stepSizes = (count: number): Work => ({ macs: 0, other: 8 * up(count, 4), exps: 3 * up(count, 4) });
const turns = ({ angles }: Shape, count: number): Work => ({
  macs: 0,
  other: 3 * angles * count,
  exps: angles * count,
});
const angleSums = ({ angles }: Shape, count: number): Work => ({
  macs: 0,
  other: count * (1 + 7 * angles),
  exps: 2 * angles * count,
});

/** One row of B or C with its bias, turned. */
function turnedRow({ dState, nAngles, half }: Shape): Work {
  const lanes = half ? nAngles - (nAngles % 4) : 2 * (nAngles - (nAngles % 2));
  const single = half ? nAngles % 4 : nAngles % 2;
  const rest = half ? 2 * up(dState / 2 - lanes + 1, 4) : up(dState - lanes + 1, 4);
  return { macs: (half ? 2 : 1) * lanes, other: (half ? 4 : 2) * lanes + rest + 6 * single, exps: 0 };
}

/** And its gradient turned back. */
function turnedBack({ nAngles, half }: Shape): Work {
  const lanes = half ? nAngles - (nAngles % 4) : 2 * (nAngles - (nAngles % 2));
  const single = half ? nAngles % 4 : nAngles % 2;
  return { macs: (half ? 4 : 1) * lanes, other: (half ? 2 : 4) * lanes + 10 * single, exps: 0 };
}

/** Decays of the rows of a chunk, and what each gives to the end. */
function decays(rows: number): Work {
  const padded = up(up(rows, 5), 8);
  return { macs: 0, other: 2 * rows + padded + up(rows, 4), exps: 2 * padded + 4 };
}

/** v of the rows of a chunk. */
const mixedInputs = ({ half, headDim }: Shape, rows: number): Work => ({
  macs: 0,
  other: half ? rows * up(headDim, 4) : 0,
  exps: 0,
});

/** What the last input of an earlier sequence gives to the state. */
const firstState = ({ ranks, headDim, row, half }: Shape): Work => ({
  macs: ranks * headDim * row,
  other: 2 + ranks * headDim * (half ? 2 : 1),
  exps: 0,
});

export function mamba3(sizes: Mamba3Sizes): Op {
  const shape = shapeOf(sizes);
  const { batch, length, heads, headDim, ranks, dState, nAngles, initial, channels, states } = shape;
  const wanted = sizes.chunkSize === undefined ? undefined : numberOf(sizes.chunkSize);
  if (wanted === 1 || (wanted === undefined && length < SHORTEST_CHUNKED)) return mamba3Recurrent(sizes);
  const total = new Total();
  const perHead = batch * heads;
  const lengths = chunkLengths(length, Math.min(chunkOf(sizes, ranks), length));
  lengths.forEach((steps, index) => {
    const rows = steps * ranks;
    const tiles = up(rows, 5);
    const isEnd = index === lengths.length - 1;
    const goesOn = index > 0 || initial;
    const elements = decayElements(rows, ranks);
    total.add(perHead, stepSizes(isEnd ? steps : steps + 1));
    total.add(perHead, { other: 3 * (isEnd ? steps - 1 : steps) });
    total.add(shape.own ? perHead : batch, turns(shape, steps));
    total.add(perHead, angleSums(shape, steps));
    total.add(perHead * 2 * rows, turnedRow(shape));
    total.add(perHead, decays(rows));
    total.add(perHead, mixedInputs(shape, rows));
    total.add(perHead, { macs: areaOfPairs(rows, ranks) * dState, other: 3 * elements, exps: elements });
    total.add(perHead, { macs: channels * triangles(rows, ranks).lower + rows * up(headDim + 1, 4) });
    total.add(perHead, { macs: states * channels * rows, other: channels * rows });
    if (goesOn) {
      total.add(perHead, { macs: tiles * channels * dState, other: tiles * channels + states * channels });
    }
  });
  total.add(perHead, { other: 4 * nAngles });
  if (initial) {
    total.add(perHead, { other: nAngles });
    total.add(perHead, firstState(shape));
  }
  return total.op;
}

/** Step by step. */
export function mamba3Recurrent(sizes: Mamba3Sizes): Op {
  const shape = shapeOf(sizes);
  const { batch, length, heads, headDim, ranks, nAngles, row, initial } = shape;
  const total = new Total();
  const perHead = batch * heads;
  const steps = perHead * length;
  total.add(perHead, stepSizes(length));
  total.add(perHead, { other: (initial ? 5 : 4) * nAngles });
  total.add(steps, { other: 4, exps: 4 });
  total.add(steps, turns(shape, 1));
  total.add(steps, angleSums(shape, 1));
  total.add(steps * 2 * ranks, turnedRow(shape));
  total.add(steps * headDim, { macs: 3 * ranks * row, other: row + 12 * ranks });
  return total.op;
}

/** From no initial state. */
export function mamba3Backward(sizes: Mamba3Sizes): Op {
  const shape = shapeOf(sizes);
  const { batch, length, heads, headDim, groups, ranks, dState, nAngles } = shape;
  const { channels, states, wide, row, angles } = shape;
  const total = new Total();
  const perHead = batch * heads;
  // The heads of a group come in bundles, whose sums for B and C are added up.
  const headsOfGroup = heads / groups;
  const mostBundles = Math.min(headsOfGroup, Math.ceil(BACKWARD_UNITS / (batch * groups)));
  const bundles = Math.ceil(headsOfGroup / Math.ceil(headsOfGroup / mostBundles));
  const later = batch * (heads - groups * bundles); // heads that add to what the first of their bundle left
  const sums = ranks * (channels + 2 * row);

  total.add(perHead, stepSizes(length));
  total.add(perHead, { other: 3 * (length - 1) });
  total.add(shape.own ? perHead : batch * groups * bundles, turns(shape, length));
  total.add(perHead, angleSums(shape, length));
  const chunk = Math.max(chunkOf(sizes, ranks), MAMBA3_SHORTEST_CHUNK_BACKWARD);
  const lengths = chunkLengths(length, Math.min(chunk, length));
  lengths.forEach((steps, index) => {
    const rows = steps * ranks;
    const tiles = up(rows, 5);
    const hasState = index > 0;
    const hasGradient = index < lengths.length - 1;
    const { lower, upper } = triangles(rows, ranks);
    const area = areaOfPairs(rows, ranks);
    const elements = decayElements(rows, ranks);
    if (hasGradient) {
      // The state at the chunk's end.
      total.add(perHead * rows, turnedRow(shape));
      total.add(perHead, decays(rows));
      total.add(perHead, mixedInputs(shape, rows));
      total.add(perHead, { macs: states * channels * rows, other: channels * rows });
      if (hasState) total.add(perHead, { other: states * channels });
    }
    total.add(perHead * 2 * rows, turnedRow(shape));
    total.add(perHead, decays(rows));
    total.add(perHead, mixedInputs(shape, rows));
    total.add(perHead, { macs: area * (dState + headDim), other: 9 * elements, exps: elements });
    total.add(perHead, { other: 2 * ranks * rows + 3 * steps });
    total.add(perHead, { macs: channels * upper + wide * (lower + upper) });
    total.add(perHead * rows, { macs: channels, other: 10 });
    const mixed = shape.half ? { macs: rows, other: rows + (ranks - 1) * steps } : { macs: 0, other: 0 };
    total.add(perHead * up(headDim, 4), { macs: rows + mixed.macs, other: mixed.other });
    if (hasGradient) {
      total.add(perHead, { macs: tiles * channels * dState + tiles * wide * headDim + rows * channels });
      total.add(perHead, { other: 12 * rows + tiles * (channels + wide) });
    }
    if (hasState) {
      total.add(perHead, { macs: tiles * wide * headDim + rows * row, other: 6 * rows + tiles * wide });
      total.add(perHead, { macs: states * channels * rows, other: channels * rows });
      if (hasGradient) total.add(perHead, { macs: states * channels, other: 10 + states * channels });
    }
    total.add(perHead, { other: 5 * rows });
    total.add(perHead * 2 * rows, turnedBack(shape));
    total.add(perHead * 2 * rows, { other: row });
    total.add(later * 2 * rows, { other: row });
    total.add(perHead * steps, { other: 3 + 7 * angles });
    if (!shape.own) total.add(later * steps, { other: angles });
    total.add(perHead, { other: sums + 1 });
  });
  total.add(perHead, { other: 15 * length + 10 * up(length, 4), exps: up(length, 4) });

  const tokens = batch * length;
  total.add(tokens * (bundles - 1) * 2, { other: up(ranks * groups * dState + 1, 4) });
  if (!shape.own) total.add(tokens * (bundles * groups - 1), { other: up(nAngles + 1, 4) });
  total.add(perHead, { other: sums + 2 });
  return total.op;
}
