/** Products of tiles, and the pairs of queries and keys that see each other. */
import { tile5x8, tileRow, zeros } from '../matrix/tile';
import { madd, maddWhere } from '../simd';
import { bytes, LANE_BYTES, LANES, QUERY_TILE, QUERY_TILE_BYTES, ROWS, words } from './sizes';

/** out[j] = panels[j] . lanes, for `rows` keys; lanes [width, 8]. */
// prettier-ignore
export function dots(out: usize, outRow: usize, panels: usize, lanes: usize, rows: i32, width: i32): void {
  for (let j = 0; j < rows; j += ROWS, out += ROWS * outRow, panels += bytes(ROWS, width)) {
    tile5x8(out, outRow, zeros, 0, panels, ROWS * 4, lanes, LANE_BYTES, width);
  }
}

/**
 * lanes [.., 8] += sum_j rows[j] weights[j] over the keys first <= j < last, weights[j] of eight lanes; rows have
 * `wide` bytes, by fives. If `edges`, each of the `count` queries of the panel takes the keys alone that it sees,
 * from <= j < to; else its other weights are 0, and rows finite.
 */
// prettier-ignore
export function mix(
  lanes: usize, rows: usize, wide: usize, weights: usize, weightsRow: usize,
  first: i32, last: i32, edges: bool, from: usize, to: usize, count: i32,
): void {
  // Between these, all see all.
  const begin = edges ? min(last, max(first, load<i32>(from + words(count - 1)))) : first;
  const end = edges ? max(begin, min(last, load<i32>(to))) : last;
  const rowsAll = <usize>(begin - first) * wide, weightsAll = <usize>(begin - first) * weightsRow;
  const rowsEnd = <usize>(end - first) * wide, weightsEnd = <usize>(end - first) * weightsRow;
  for (let c: usize = 0; c < wide; c += ROWS * 4, rows += ROWS * 4, lanes += ROWS * LANE_BYTES) {
    if (begin > first) edgeTile(lanes, rows, wide, weights, weightsRow, first, begin, from, to);
    tile5x8(
      lanes, LANE_BYTES, lanes, LANE_BYTES, rows + rowsAll, wide, weights + weightsAll, weightsRow, end - begin,
    );
    if (last > end) edgeTile(lanes, rows + rowsEnd, wide, weights + weightsEnd, weightsRow, end, last, from, to);
  }
}

/**
 * A tile on the edge of what queries see: out[r] += sum_j a[j][r] b[j] over the keys first <= j < last, where each lane
 * takes the keys from <= j < to alone; four lanes at a time.
 */
// prettier-ignore
function edgeTile(
  out: usize, a: usize, aStep: usize, b: usize, bStep: usize, first: i32, last: i32, from: usize, to: usize,
): void {
  for (let lanes: usize = 0; lanes < LANE_BYTES; lanes += 16) {
    const begin = v128.load(from + lanes), end = v128.load(to + lanes);
    let row = out + lanes, left = a, right = b + lanes;
    let c0 = v128.load(row), c1 = v128.load(row, 32), c2 = v128.load(row, 64);
    let c3 = v128.load(row, 96), c4 = v128.load(row, 128);
    for (let j = first; j < last; j++, left += aStep, right += bStep) {
      const number = i32x4.splat(j);
      const seen = v128.and(i32x4.ge_s(number, begin), i32x4.lt_s(number, end));
      const weights = v128.load(right);
      c0 = maddWhere(v128.load32_splat(left), weights, c0, seen);
      c1 = maddWhere(v128.load32_splat(left, 4), weights, c1, seen);
      c2 = maddWhere(v128.load32_splat(left, 8), weights, c2, seen);
      c3 = maddWhere(v128.load32_splat(left, 12), weights, c3, seen);
      c4 = maddWhere(v128.load32_splat(left, 16), weights, c4, seen);
    }
    v128.store(row, c0); v128.store(row, c1, 32); v128.store(row, c2, 64);
    v128.store(row, c3, 96); v128.store(row, c4, 128);
  }
}

/**
 * ranges[r] = the queries begin <= n < end that see key number j + r, for r < 5; of rows beyond the keys there are
 * `keys`, the others are like the last. They are neighbours: from and to do not fall.
 */
export function seeingQueries(ranges: usize, j: i32, keys: i32, from: usize, to: usize, count: i32): void {
  let begin = 0;
  let end = 0;
  for (let r = 0; r < ROWS; r++, ranges += 8) {
    if (r < keys) {
      while (begin < count && load<i32>(to + words(begin)) <= j + r) begin++;
      while (end < count && load<i32>(from + words(end)) <= j + r) end++;
    }
    store<i32>(ranges, begin);
    store<i32>(ranges, max(begin, end), 4);
  }
}

/**
 * out[r] += sum_n weights[r][n] rows[n] for five keys r, rows of `wide` bytes, by eights. If `edges`, over the queries n
 * of ranges[r] alone; else weights of the others are 0, and rows finite.
 */
// prettier-ignore
export function addOuter(out: usize, wide: usize, weights: usize, rows: usize, ranges: usize, edges: bool): void {
  const lastRange = ranges + (ROWS - 1) * 8;
  // Between these all five are seen, or if there are no edges some.
  const begin = load<i32>(edges ? lastRange : ranges);
  const end = max(begin, load<i32>(edges ? ranges : lastRange, 4));
  const edgeBefore = load<i32>(ranges) < begin;
  const edgeAfter = load<i32>(lastRange, 4) > end;
  for (let c: usize = 0; c < wide; c += LANE_BYTES, out += LANE_BYTES, rows += LANE_BYTES) {
    if (edgeBefore) outerEdge(out, wide, weights, rows, ranges, 0, begin);
    outerTile(out, wide, weights + words(begin), rows + <usize>begin * wide, wide, end - begin);
    if (edgeAfter) outerEdge(out, wide, weights, rows, ranges, end, QUERY_TILE);
  }
}

/** The same for the queries least <= n < most, row by row. */
// prettier-ignore
function outerEdge(
  out: usize, wide: usize, weights: usize, rows: usize, ranges: usize, least: i32, most: i32,
): void {
  for (let r = 0; r < ROWS; r++, out += wide, weights += QUERY_TILE_BYTES, ranges += 8) {
    const begin = max(least, load<i32>(ranges)), end = min(most, load<i32>(ranges, 4));
    if (end > begin) tileRow(out, weights + words(begin), 4, rows + <usize>begin * wide, wide, end - begin);
  }
}

/** out[r][0..7] += sum_n a[r][n] b[n][0..7] for r < 5; rows of `a` are QUERY_TILE long. */
// prettier-ignore
function outerTile(out: usize, outRow: usize, a: usize, b: usize, bStep: usize, depth: i32): void {
  const out1 = out + outRow, out2 = out1 + outRow, out3 = out2 + outRow, out4 = out3 + outRow;
  let c00 = v128.load(out),  c01 = v128.load(out, 16);
  let c10 = v128.load(out1), c11 = v128.load(out1, 16);
  let c20 = v128.load(out2), c21 = v128.load(out2, 16);
  let c30 = v128.load(out3), c31 = v128.load(out3, 16);
  let c40 = v128.load(out4), c41 = v128.load(out4, 16);
  for (; depth > 0; depth--) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    c00 = madd(x, b0, c00); c01 = madd(x, b1, c01);
    x = v128.load32_splat(a, QUERY_TILE_BYTES);
    c10 = madd(x, b0, c10); c11 = madd(x, b1, c11);
    x = v128.load32_splat(a, 2 * QUERY_TILE_BYTES);
    c20 = madd(x, b0, c20); c21 = madd(x, b1, c21);
    x = v128.load32_splat(a, 3 * QUERY_TILE_BYTES);
    c30 = madd(x, b0, c30); c31 = madd(x, b1, c31);
    x = v128.load32_splat(a, 4 * QUERY_TILE_BYTES);
    c40 = madd(x, b0, c40); c41 = madd(x, b1, c41);
    a += 4; b += bStep;
  }
  v128.store(out, c00);  v128.store(out, c01, 16);
  v128.store(out1, c10); v128.store(out1, c11, 16);
  v128.store(out2, c20); v128.store(out2, c21, 16);
  v128.store(out3, c30); v128.store(out3, c31, 16);
  v128.store(out4, c40); v128.store(out4, c41, 16);
}
