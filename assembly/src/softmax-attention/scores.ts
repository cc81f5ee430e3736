/** Scores of panels of queries: what queries see, their running softmax, and its gradient. */
import { expNegative, madd } from '../simd';
import { LANE_BYTES, LANES, LOWEST, QUERY_TILE_BYTES, roundDown, words } from './sizes';

export function slopeOf(alibiSlopes: usize, h: i32): f32 {
  return alibiSlopes == 0 ? 0 : load<f32>(alibiSlopes + words(h));
}

/** The first key number, on a register tile, from `least` up that a query of the panel at n sees. */
export function firstKey(from: usize, n: i32, least: i32): i32 {
  return max(least, roundDown(load<i32>(from + words(n))));
}

/** The end of the key numbers, at most `most`, that a query of the panel at n sees. */
export function lastKey(to: usize, n: i32, stop: i32, most: i32): i32 {
  return min(most, load<i32>(to + words(min(n + LANES, stop)) - 4));
}

/** True if the panel at n is full and each of its queries sees the key numbers first <= j < last. */
export function seesAll(from: usize, to: usize, n: i32, stop: i32, first: i32, last: i32): bool {
  return (
    n + LANES <= stop && first >= load<i32>(from + words(n + LANES) - 4) && last <= load<i32>(to + words(n))
  );
}

/** Adds the ALiBi term to `count` rows of scores and takes what eight queries do not see to -inf. */
// prettier-ignore
export function maskScores(
  scores: usize, rowBytes: usize, count: i32, first: i32, keys: usize,
  from: usize, to: usize, queries: usize, queryOffset: i32, slope: f32,
): void {
  const unseen = f32x4.splat(-Infinity);
  const slopes = f32x4.splat(slope);
  const offset = i32x4.splat(queryOffset);
  const from0 = v128.load(from), from1 = v128.load(from, 16);
  const to0 = v128.load(to), to1 = v128.load(to, 16);
  const position0 = i32x4.add(v128.load(queries), offset), position1 = i32x4.add(v128.load(queries, 16), offset);
  for (let n = first; n < first + count; n++, scores += rowBytes) {
    const number = i32x4.splat(n);
    const key = v128.load32_splat(keys + words(n));
    const seen0 = v128.and(i32x4.ge_s(number, from0), i32x4.lt_s(number, to0));
    const seen1 = v128.and(i32x4.ge_s(number, from1), i32x4.lt_s(number, to1));
    const s0 = madd(slopes, f32x4.convert_i32x4_s(i32x4.sub(key, position0)), v128.load(scores));
    const s1 = madd(slopes, f32x4.convert_i32x4_s(i32x4.sub(key, position1)), v128.load(scores, 16));
    v128.store(scores, v128.bitselect(s0, unseen, seen0));
    v128.store(scores, v128.bitselect(s1, unseen, seen1), 16);
  }
}

/** One step of the running softmax: scores become e^(s - max); max, total and oT [width, 8] follow the new max. */
export function exponentials(
  scores: usize,
  count: i32,
  max: usize,
  total: usize,
  oT: usize,
  width: i32,
): void {
  const max0 = v128.load(max);
  const max1 = v128.load(max, 16);
  let new0 = max0;
  let new1 = max1;
  let other0 = max0;
  let other1 = max1;
  const end = scores + <usize>count * LANE_BYTES;
  let row = scores;
  for (; row + 2 * LANE_BYTES <= end; row += 2 * LANE_BYTES) {
    new0 = f32x4.pmax(new0, v128.load(row));
    new1 = f32x4.pmax(new1, v128.load(row, 16));
    other0 = f32x4.pmax(other0, v128.load(row, 32));
    other1 = f32x4.pmax(other1, v128.load(row, 48));
  }
  if (row < end) {
    new0 = f32x4.pmax(new0, v128.load(row));
    new1 = f32x4.pmax(new1, v128.load(row, 16));
  }
  new0 = f32x4.pmax(new0, other0);
  new1 = f32x4.pmax(new1, other1);
  let total0 = v128.load(total);
  let total1 = v128.load(total, 16);
  if (v128.any_true(v128.or(f32x4.gt(new0, max0), f32x4.gt(new1, max1)))) {
    v128.store(max, new0);
    v128.store(max, new1, 16);
    const shrink0 = expNegative(f32x4.sub(max0, new0));
    const shrink1 = expNegative(f32x4.sub(max1, new1));
    total0 = f32x4.mul(total0, shrink0);
    total1 = f32x4.mul(total1, shrink1);
    const oEnd = oT + <usize>width * LANE_BYTES;
    for (; oT < oEnd; oT += LANE_BYTES) {
      v128.store(oT, f32x4.mul(v128.load(oT), shrink0));
      v128.store(oT, f32x4.mul(v128.load(oT, 16), shrink1), 16);
    }
  }
  for (row = scores; row < end; row += LANE_BYTES) {
    const p0 = expNegative(f32x4.sub(v128.load(row), new0));
    const p1 = expNegative(f32x4.sub(v128.load(row, 16), new1));
    v128.store(row, p0);
    v128.store(row, p1, 16);
    total0 = f32x4.add(total0, p0);
    total1 = f32x4.add(total1, p1);
  }
  v128.store(total, total0);
  v128.store(total, total1, 16);
}

/** Starts a panel's softmax: with nothing, or with what came before as a key of score logSumExp and value o. */
// prettier-ignore
export function openPanel(maxima: usize, totals: usize, sums: usize, list: usize, count: i32, continued: bool): void {
  for (let i = 0; i < LANES; i++) {
    const before: f32 = continued && i < count ? load<f32>(sums + words(load<i32>(list + words(i)))) : -Infinity;
    store<f32>(maxima + words(i), before > LOWEST ? before : LOWEST);
    // NaN stays what it is: a sum of scores one of which is NaN.
    store<f32>(totals + words(i), before == -Infinity ? 0 : isNaN<f32>(before) ? before : 1);
  }
}

/** Writes logSumExp, and leaves the factor of o, 1 / total or 0, in place of the total. */
export function closePanel(maxima: usize, totals: usize, sums: usize, list: usize, count: i32): void {
  for (let i = 0; i < min(count, LANES); i++) {
    const total = load<f32>(totals + words(i));
    const logSum: f32 = total == 0 ? -Infinity : load<f32>(maxima + words(i)) + Mathf.log(total);
    store<f32>(sums + words(load<i32>(list + words(i))), logSum);
    store<f32>(totals + words(i), total == 0 ? 0 : 1 / total);
  }
}

/** Scores become p, what dO . v gave becomes ds; rows are QUERY_TILE long. */
export function scoreGradients(p: usize, ds: usize, count: i32, sums: usize, deltas: usize): void {
  const sums0 = v128.load(sums);
  const sums1 = v128.load(sums, 16);
  const deltas0 = v128.load(deltas);
  const deltas1 = v128.load(deltas, 16);
  for (; count > 0; count--, p += QUERY_TILE_BYTES, ds += QUERY_TILE_BYTES) {
    const p0 = expNegative(f32x4.sub(v128.load(p), sums0));
    const p1 = expNegative(f32x4.sub(v128.load(p, 16), sums1));
    v128.store(p, p0);
    v128.store(p, p1, 16);
    v128.store(ds, f32x4.mul(p0, f32x4.sub(v128.load(ds), deltas0)));
    v128.store(ds, f32x4.mul(p1, f32x4.sub(v128.load(ds, 16), deltas1)), 16);
  }
}
