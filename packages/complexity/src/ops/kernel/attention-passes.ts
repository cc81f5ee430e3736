/** How the kernels of softmax attention cut a pattern into passes, and the passes of the gradient into parts. */
import { numberOf } from '../op.js';
import type { AttentionSizes } from '../sizes.js';

/** A pass of the kernel: numbers of keys that its queries see, from .. to - 1, neither falling. */
export interface Pass {
  from: number[];
  to: number[];
}

/** The passes that make up a pattern, as the kernels cut it. */
export function passesOf(
  seqLen: number,
  { window, sparse }: Pick<AttentionSizes, 'window' | 'sparse'>,
): Pass[] {
  const reach = window === undefined ? Infinity : numberOf(window);
  const make = (
    [first, step, run]: [number, number, number],
    range: (position: number) => [number, number],
    firstQuery = 0,
    queryStep = 1,
  ): Pass => {
    const below = (end: number) => {
      const length = end - first;
      return length <= 0 ? 0 : Math.floor(length / step) * run + Math.min(run, length % step);
    };
    const pass: Pass = { from: [], to: [] };
    for (let t = firstQuery; t < seqLen; t += queryStep) {
      const [low, high] = range(t);
      pass.from.push(below(Math.max(low, t - reach + 1)));
      pass.to.push(below(Math.min(high, seqLen)));
    }
    const base = pass.from[0];
    pass.from = pass.from.map((n) => n - base);
    pass.to = pass.to.map((n) => Math.max(0, n - base));
    return pass;
  };
  if (sparse === undefined) return [make([0, 1, 1], (t) => [0, t + 1])];
  const { stride } = sparse;
  const passes =
    sparse.pattern === 'fixed'
      ? [
          make([0, 1, 1], (t) => [t - (t % stride), t + 1]),
          make([stride - sparse.summary, stride, sparse.summary], (t) => [0, t - (t % stride)]),
        ]
      : [
          make([0, 1, 1], (t) => [Math.max(0, t - stride + 1), t + 1]),
          ...Array.from({ length: Math.min(stride, seqLen) }, (_, t) =>
            make([t % stride, stride, 1], (position) => [0, position - stride + 1], t, stride),
          ),
        ];
  return passes.filter(({ to }, i) => i === 0 || to[to.length - 1] > 0);
}

/** To the start of five keys. */
export const down = (n: number): number => n - (n % 5);

/** Queries of a part start at multiples of it. */
const QUERY_TILE = 64;
/** About how long the kernel takes for a multiplication and addition, which decides in how many parts it cuts passes. */
const MADD_NS = 0.03;

/** Keys that the parts of a pass of the gradient read and add up, for all items of a batch and key heads. */
export interface PartKeys {
  /** Keys that are packed: those of each part, unless the part before has them. */
  packed: number;
  /** Keys whose gradients are added to those of the parts before. */
  added: number;
}

/** The same for each of a call's passes: the first is cut alone, the others together. */
export function partKeys(passes: readonly Pass[], sizes: AttentionSizes): PartKeys[] {
  const [batch, nHeads, nKvHeads, headDim, valueDim] = [
    sizes.batch,
    sizes.nHeads,
    sizes.nKvHeads,
    sizes.headDim,
    sizes.valueDim ?? sizes.headDim,
  ].map(numberOf);
  const ofStage = (stage: readonly Pass[]): PartKeys[] => {
    const group = nHeads / nKvHeads;
    const ofHeads = stage.length * batch * nKvHeads;
    const queries = Math.max(...stage.map(({ from }) => from.length));
    const pairs = stage.reduce((total, pass) => total + pairsOf(pass), 0) * batch * nHeads;
    const nanoseconds = pairs * (3 * headDim + 2 * valueDim) * MADD_NS;
    const parts =
      ofHeads >= 8
        ? 1
        : Math.max(
            1,
            Math.min(
              4,
              Math.ceil(8 / ofHeads),
              Math.floor((queries * group) / 128),
              Math.floor(nanoseconds / 200_000),
            ),
          );
    const heads = Math.min(group, parts);
    const ranges = Math.min(Math.ceil(parts / heads), Math.ceil(queries / QUERY_TILE));
    return stage.map((pass) => {
      const keys: PartKeys = { packed: 0, added: 0 };
      let last = { first: -1, end: -1 };
      for (const [start, stop] of cutQueries(pass, ranges)) {
        if (start === stop) continue;
        const first = ranges * heads === 1 ? 0 : down(pass.from[start]);
        const end = Math.max(first, pass.to[stop - 1]);
        keys.added += heads * (end - first);
        if (first === last.first && end <= last.end) continue;
        keys.packed += end - first;
        last = { first, end };
      }
      return { packed: keys.packed * batch * nKvHeads, added: keys.added * batch * nKvHeads };
    });
  };
  const [first, ...others] = passes;
  return [...ofStage([first]), ...(others.length > 0 ? ofStage(others) : [])];
}

const pairsOf = ({ from, to }: Pass): number =>
  from.reduce((total, low, n) => total + Math.max(0, to[n] - low), 0);

/** Ranges of queries of about the same work, the last ones first. */
function cutQueries(pass: Pass, parts: number): [start: number, stop: number][] {
  const { from, to } = pass;
  // A query costs about as much as a few keys more, even if it sees none.
  const costs = from.map((low, n) => Math.max(0, to[n] - low) + 8);
  const all = costs.reduce((a, b) => a + b, 0);
  const ranges: [number, number][] = [];
  let done = 0;
  let start = 0;
  for (let stop = QUERY_TILE; stop <= from.length && ranges.length < parts - 1; stop += QUERY_TILE) {
    for (let n = stop - QUERY_TILE; n < stop; n++) done += costs[n];
    // To end here is nearer to the mark than to end a tile later.
    if (done + (costs[stop - 1] * QUERY_TILE) / 2 < (all * (ranges.length + 1)) / parts) continue;
    ranges.push([start, stop]);
    start = stop;
  }
  ranges.push([start, from.length]);
  return ranges.sort(([a], [b]) => b - a);
}
