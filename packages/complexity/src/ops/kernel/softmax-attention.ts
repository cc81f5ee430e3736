/** What the kernels of softmax attention execute: tiles of 8 queries and 60 keys, the parts of a sparse pattern one by one. */
import { product, sum } from '../../expression.js';
import { numberOf, op, type Op, total } from '../op.js';
import type { AttentionSizes } from '../sizes.js';
import { countVisible } from '../visible-keys.js';
import { down, type Pass, partKeys, passesOf } from './attention-passes.js';
import { round } from './round.js';

interface Tiles {
  /** Keys times panels of eight queries: in fives, as they are, and those that a mask goes over. */
  rows: number;
  depth: number;
  masked: number;
  /** Pairs of queries and keys as sums over queries take them: all five keys where a query sees one of them. */
  pairs: number;
  /** Visits of a panel to a tile of 60 keys. */
  visits: number;
  panels: number;
  keys: number;
  queries: number;
}

/** Tiles of 8 queries and 60 keys that a pass goes through. */
function tilesOf({ from, to }: Pass, alibi: boolean): Tiles {
  const count = from.length;
  const keys = Math.max(0, to[count - 1]);
  const tiles: Tiles = {
    rows: 0,
    depth: 0,
    masked: 0,
    pairs: 0,
    visits: 0,
    panels: Math.ceil(count / 8),
    keys,
    queries: count,
  };
  for (let start = 0; start < count; start += 64) {
    const stop = Math.min(start + 64, count);
    const end = to[stop - 1];
    for (let key = down(from[start]); key < end; key += 5) {
      const last = Math.min(key + 4, keys - 1);
      for (let n = start; n < stop; n++) if (to[n] > key && from[n] <= last) tiles.pairs += 5;
    }
    for (let key = down(from[start]); key < end; key += 60) {
      for (let n = start; n < stop; n += 8) {
        const first = Math.max(key, down(from[n]));
        const last = Math.min(key + 60, end, to[Math.min(n + 8, stop) - 1]);
        if (last <= first) continue;
        const rows = Math.ceil((last - first) / 5) * 5;
        tiles.rows += rows;
        tiles.depth += last - first;
        tiles.visits++;
        const seesAll = n + 8 <= stop && first >= from[Math.min(n + 8, count) - 1] && first + rows <= to[n];
        if (alibi || !seesAll) tiles.masked += rows;
      }
    }
  }
  return tiles;
}

/** Work of single queries against `keys` keys in all, each pass over `queries` of them, `each` operations per query. */
function rowWork(
  { headDim, valueDim = headDim, nHeads, batch }: AttentionSizes,
  visible: number[],
  continued: boolean,
  each: number,
): Op {
  const heads = product(batch, nHeads);
  const wide = round(valueDim, 4);
  const keys = sum(...visible);
  const fours = sum(...visible.map((count) => Math.ceil(count / 4) * 4));
  const queries = visible.length;
  return op({
    macs: product(
      heads,
      sum(
        product(fours, sum(round(headDim, 4), 1)),
        product(keys, wide),
        continued ? product(queries, wide) : 0,
      ),
    ),
    other: product(heads, sum(product(6, fours), product(queries, sum(wide, each)))),
    transcendentals: product(heads, sum(fours, 5 * queries)),
  });
}

export function softmaxAttention(sizes: AttentionSizes): Op {
  const { batch, seqLen, nHeads, nKvHeads, headDim, valueDim = headDim, alibi = false } = sizes;
  const heads = product(batch, nHeads);
  const fourValue = round(valueDim, 4);
  const parts = passesOf(numberOf(seqLen), sizes).map((pass, i) => {
    const continued = i > 0;
    if (pass.from.length < 5)
      return rowWork(
        sizes,
        pass.to.map((to, n) => Math.max(0, to - pass.from[n])),
        continued,
        11, // one of them counts scores
      );
    const { rows, depth, masked, visits, panels, keys, queries } = tilesOf(pass, alibi);
    return op({
      macs: product(heads, 8, sum(product(rows, headDim), product(depth, round(valueDim, 5)), masked)),
      other: sum(
        // At most: a panel's sums shrink where a tile has a new maximum, which depends on the scores.
        product(heads, 8, sum(product(2 * rows), product(visits, sum(valueDim, 2)))),
        product(heads, visits),
        // queries in, outputs out, and back in for a pass that goes on
        product(heads, 8 * panels, round(headDim, 4)),
        product(heads, Math.ceil(queries / 4) * 4 + (continued ? 8 * panels : 0), fourValue),
        product(heads, 2 * queries),
        product(batch, nKvHeads, keys, fourValue),
      ),
      transcendentals: product(heads, sum(8 * rows, 8 * visits, queries)),
    });
  });
  return total(parts);
}

export function softmaxAttentionBackward(sizes: AttentionSizes): Op {
  const { batch, seqLen, nHeads, headDim, valueDim = headDim, alibi = false } = sizes;
  const heads = product(batch, nHeads);
  const fourKey = round(headDim, 4);
  const fourValue = round(valueDim, 4);
  const eights = sum(round(headDim, 8), round(valueDim, 8));
  const passes = passesOf(numberOf(seqLen), sizes);
  const keysOf = partKeys(passes, sizes);
  const parts = passes.map((pass, i) => {
    const { rows, pairs, masked, panels, queries } = tilesOf(pass, alibi);
    const { packed, added } = keysOf[i];
    return op({
      macs: product(
        heads,
        sum(
          product(8 * rows, sum(headDim, valueDim, round(headDim, 5))),
          product(pairs, eights),
          8 * masked,
          product(queries, fourValue),
        ),
      ),
      other: sum(
        product(heads, sum(24 * rows, 5 * queries)),
        // queries and upstream in, by rows and by lanes; gradients of queries out
        product(heads, fourKey, 2 * queries + 8 * panels + Math.ceil(queries / 4) * 4),
        product(heads, fourValue, queries + 8 * panels),
        // keys in, and gradients of keys and values out of each part
        product(packed, fourKey),
        product(added, sum(fourKey, fourValue)),
      ),
      transcendentals: product(heads, 8 * rows),
    });
  });
  return total(parts);
}

/** Passes of a sparse pattern: the near keys, then the far ones. */
export const softmaxAttentionStep = (sizes: AttentionSizes, position: number): Op =>
  total(stepPasses(position, sizes).map((count, i) => rowWork(sizes, [count], i > 0, 10)));

function stepPasses(
  position: number,
  { window, sparse }: Pick<AttentionSizes, 'window' | 'sparse'>,
): number[] {
  const reach = window === undefined ? Infinity : numberOf(window);
  const seen = Math.min(position + 1, reach);
  if (sparse === undefined) return [seen];
  const { stride } = sparse;
  const near = Math.min(seen, sparse.pattern === 'strided' ? stride : (position % stride) + 1);
  const far = countVisible(position, sparse, reach) - near;
  return far > 0 ? [near, far] : [near];
}
