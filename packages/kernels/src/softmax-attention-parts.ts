import type { Context } from './context.js';
import type { Pass } from './softmax-attention-passes.js';

/** Parts of a pass start at multiples of it; of so many queries the kernels make tiles. */
const QUERY_TILE = 64;
/** 32-bit words in a row of the table that the kernels read: see `Part` in assembly/src/softmax-attention/pass.ts. */
const PART_WORDS = 11;
/** Up to so many keys before the first that a part sees are packed with it, to begin on a tile. */
const TILE_KEYS = 8;

/** A call: its passes, for each item of a batch, and the positions of their first queries. */
export interface Work {
  passes: readonly Pass[][];
  queryOffset: (item: number) => number;
  nHeads: number;
  nKvHeads: number;
}

/** Passes that can be computed at the same time, in a table. */
export interface Stage {
  /** Address of the table. */
  table: number;
  /** In how many parts each pass is cut. */
  parts: number;
  /** Passes times key heads. */
  ofHeads: number;
  units: number;
  /** Whether outputs hold what an earlier stage found. */
  continued: boolean;
  /** The most queries of a pass, keys of a pass, and keys of a part. */
  queryCount: number;
  keyCount: number;
  partKeyCount: number;
}

/** What decides in how many parts passes are cut. */
export interface StageSizes {
  /** Passes times key heads. */
  ofHeads: number;
  /** The most queries of a pass, times the heads that share their keys. */
  queries: number;
  /** Pairs of a query and a key that it sees, over all heads. */
  pairs: number;
}

/**
 * Runs `run` for the first passes of all items, and then for the others: these share neither queries nor keys, and are
 * computed together.
 *
 * @param partsOf  in how many parts to cut each pass; fewer come of it where there are few queries
 */
export function eachStage(
  context: Context,
  work: Work,
  partsOf: (sizes: StageSizes) => number,
  run: (stage: Stage, sizes: StageSizes) => void,
): void {
  const group = work.nHeads / work.nKvHeads;
  for (const continued of [false, true]) {
    const passes = work.passes.flatMap((ofItem, item) =>
      (continued ? ofItem.slice(1) : ofItem.slice(0, 1)).map((pass) => ({ pass, item })),
    );
    if (passes.length === 0) continue;
    const distinct = new Set(passes.map(({ pass }) => pass));
    let queryCount = 0;
    let keyCount = 0;
    let listWords = 0;
    for (const { queries, keys } of distinct) {
      queryCount = Math.max(queryCount, queries.length);
      keyCount = Math.max(keyCount, keys.length);
      listWords += 3 * padded(queries.length) + padded(keys.length);
    }
    const ofHeads = passes.length * work.nKvHeads;
    const pairs = passes.reduce((sum, { pass }) => sum + pass.pairs, 0) * work.nHeads;
    const sizes = { ofHeads, queries: queryCount * group, pairs };
    const cut = cutting(partsOf(sizes), group, queryCount);
    const parts = cut.heads * cut.queries;
    const words = listWords + passes.length * parts * PART_WORDS;
    context.scratch(words * 4, (address) => {
      const memory = new Int32Array(context.allocator.memory.buffer, address, words);
      const rows = new Map<Pass, PlacedPass>();
      let at = 0;
      for (const pass of distinct) {
        rows.set(pass, { at, ranges: cutQueries(pass, cut.queries) });
        for (const list of [pass.queries, pass.keys, pass.from, pass.to]) {
          memory.set(list, at);
          memory.fill(0, at + list.length, at + padded(list.length));
          at += padded(list.length);
        }
      }
      const table = address + at * 4;
      let partKeyCount = 0;
      for (const { pass, item } of passes) {
        const { at: lists, ranges } = rows.get(pass)!;
        const queryWords = padded(pass.queries.length);
        const queries = address + lists * 4;
        const keys = queries + queryWords * 4;
        const from = keys + padded(pass.keys.length) * 4;
        const to = from + queryWords * 4;
        const offset = work.queryOffset(item);
        for (const [start, stop] of ranges) {
          if (stop > start) {
            const seen = pass.to[stop - 1] - pass.from[start] + TILE_KEYS;
            partKeyCount = Math.max(partKeyCount, Math.min(pass.keys.length, seen));
          }
          for (let i = 0; i < cut.heads; i++) {
            const firstHead = Math.floor((i * group) / cut.heads);
            const heads = Math.floor(((i + 1) * group) / cut.heads) - firstHead;
            // prettier-ignore
            memory.set(
              [item, queries, keys, from, to, pass.queries.length, offset, firstHead, heads, start, stop],
              at,
            );
            at += PART_WORDS;
          }
        }
      }
      const units = ofHeads * parts;
      run({ table, parts, ofHeads, units, continued, queryCount, keyCount, partKeyCount }, sizes);
    });
  }
}

/** Lists are readable up to a multiple of 8 elements, beyond which ranges are empty. */
const padded = (count: number) => Math.ceil(count / 8) * 8;

/** Where the lists of a pass begin, in words, and its parts. */
interface PlacedPass {
  at: number;
  ranges: [start: number, stop: number][];
}

/** Heads that share keys are cut first: their parts are alike. */
function cutting(parts: number, group: number, queryCount: number): { heads: number; queries: number } {
  const heads = Math.min(group, parts);
  return { heads, queries: Math.min(Math.ceil(parts / heads), Math.ceil(queryCount / QUERY_TILE)) };
}

/** So many ranges of queries, of about the same work; the last queries, which see the most keys if causal, come first. */
function cutQueries({ queries, from, to, pairs }: Pass, parts: number): [start: number, stop: number][] {
  if (parts === 1) return [[0, queries.length]];
  // A query costs about as much as a few keys more, even if it sees none.
  const all = pairs + 8 * queries.length;
  const ranges: [number, number][] = [];
  let done = 0;
  let start = 0;
  for (let n = 0; n < queries.length; n++) {
    const stop = n + 1;
    done += to[n] - from[n] + 8;
    if (stop % QUERY_TILE !== 0 || ranges.length === parts - 1) continue;
    // To end here is nearer to the mark than to end a tile later.
    const left = to[n] - from[n] + 8;
    if (done + (left * QUERY_TILE) / 2 < (all * (ranges.length + 1)) / parts) continue;
    ranges.push([start, stop]);
    start = stop;
  }
  ranges.push([start, queries.length]);
  while (ranges.length < parts) ranges.push([0, 0]);
  return ranges.sort(([a], [b]) => b - a);
}
