/**
 * Softmax attention of one sequence, its matrix never stored (softmax in one go: Milakov & Gimelshein 2018,
 * arXiv:1805.02867; tiles: Rabe & Staats 2021, arXiv:2112.05682; backward from logSumExp: Dao 2023,
 * arXiv:2307.08691).
 *
 *   s[t,j] = scale q[t] . k[j] - slope (queryOffset + t - j)        for the keys j that query t sees
 *   logSumExp[t] = ln sum_j e^s[t,j]      p[t,j] = e^(s[t,j] - logSumExp[t])      o[t] = sum_j p[t,j] v[j]
 *
 *   q, dq  [qLen, nHeads, headDim]      o, dO  [qLen, nHeads, valueDim]      logSumExp    [nHeads, qLen]
 *   k, dk  [kLen, nKvHeads, headDim]    v, dv  [kLen, nKvHeads, valueDim]    alibiSlopes  [nHeads] or absent
 *
 * One call is one pass: the queries listed in `queries` [queryCount] meet the keys listed in `keys` [keyCount],
 * and query number n sees the key numbers from[n] <= j < to[n]. Masks and windows are one such pass; a sparse
 * pattern takes several, each of which adds its keys to what `o` and `logSumExp` already hold (`continued`).
 *
 * The caller guarantees: from and to do not fall; to <= keyCount; the four lists are readable up to a multiple
 * of 8 elements, and from and to hold 0 there; no key comes twice for a query; nHeads is a multiple of nKvHeads;
 * scratch has as many bytes as softmaxAttentionForwardScratchBytes or -BackwardScratchBytes says. A query without keys gets
 * o = 0 and logSumExp = -inf.
 *
 * Lanes run along queries, eight side by side, a panel: [.., 8] below. So maxima, sums and masks are vertical.
 *
 * What a query does not see reaches nothing of it, NaN and infinity included. So a weight of 0 is no mask: where not
 * all queries of a tile see the same keys, products leave out the pairs that are not seen.
 */
import { expNegative, loadTail, madd, maddWhere, storeTail, sum } from './simd';

const LANES: i32 = 8;
const LANE_BYTES: usize = 32;
/** Rows of a register tile of 5 x 2 accumulators. 6 x 2 spill in V8 with mul + add: 34 instead of 56 GFLOP/s. */
const ROWS: i32 = 5;
const KEY_TILE: i32 = 60;
const QUERY_TILE: i32 = 64;
const QUERY_TILE_BYTES: usize = 256;
const PANELS: usize = 8; // of eight lanes in a tile of queries
/** Where a maximum begins: finite, so that no difference of scores is NaN. */
const LOWEST: f32 = -f32.MAX_VALUE;
/** Fewer queries than this are attended one by one: to pack the keys would cost more than it saves. */
const FEW: i32 = 5;

function roundUp(n: i32, to: i32): i32 {
  return ((n + to - 1) / to) * to;
}

/** To the start of a register tile. */
function roundDown(n: i32): i32 {
  return n - (n % ROWS);
}

/** Bytes of `count` elements. */
function words(count: i32): usize {
  return (<usize>count) << 2;
}

function bytes(rows: i32, columns: i32): usize {
  return (<usize>rows * <usize>columns) << 2;
}

/** Of [width, 8], with room for the last register tile. */
function lanesBytes(width: i32): usize {
  return <usize>(width + ROWS) * LANE_BYTES;
}

/** out[r] = sum_n a[n][r] b[n] for r < 5, each b[n] and out[r] of eight lanes; added to out if `add`. */
// prettier-ignore
function tile(out: usize, outRow: usize, a: usize, aStep: usize, b: usize, bStep: usize, depth: i32, add: bool): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00;
  let c21 = c00, c30 = c00, c31 = c00, c40 = c00, c41 = c00;
  const out1 = out + outRow, out2 = out1 + outRow, out3 = out2 + outRow, out4 = out3 + outRow;
  if (add) {
    c00 = v128.load(out);  c01 = v128.load(out, 16);
    c10 = v128.load(out1); c11 = v128.load(out1, 16);
    c20 = v128.load(out2); c21 = v128.load(out2, 16);
    c30 = v128.load(out3); c31 = v128.load(out3, 16);
    c40 = v128.load(out4); c41 = v128.load(out4, 16);
  }
  for (; depth > 0; depth--) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    c00 = madd(x, b0, c00); c01 = madd(x, b1, c01);
    x = v128.load32_splat(a, 4);
    c10 = madd(x, b0, c10); c11 = madd(x, b1, c11);
    x = v128.load32_splat(a, 8);
    c20 = madd(x, b0, c20); c21 = madd(x, b1, c21);
    x = v128.load32_splat(a, 12);
    c30 = madd(x, b0, c30); c31 = madd(x, b1, c31);
    x = v128.load32_splat(a, 16);
    c40 = madd(x, b0, c40); c41 = madd(x, b1, c41);
    a += aStep; b += bStep;
  }
  v128.store(out, c00);  v128.store(out, c01, 16);
  v128.store(out1, c10); v128.store(out1, c11, 16);
  v128.store(out2, c20); v128.store(out2, c21, 16);
  v128.store(out3, c30); v128.store(out3, c31, 16);
  v128.store(out4, c40); v128.store(out4, c41, 16);
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

/**
 * The same for the keys first <= j < last, added to out, where each lane takes the keys from <= j < to alone; four
 * lanes at a time.
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

/** One row of outerTile: out[0..7] += sum_n a[n] b[n][0..7]. */
function outerRow(out: usize, a: usize, b: usize, bStep: usize, depth: i32): void {
  let low = v128.load(out);
  let high = v128.load(out, 16);
  for (; depth > 0; depth--, a += 4, b += bStep) {
    const x = v128.load32_splat(a);
    low = madd(x, v128.load(b), low);
    high = madd(x, v128.load(b, 16), high);
  }
  v128.store(out, low);
  v128.store(out, high, 16);
}

/** The lanes of a, b, c, d as rows: (a0 b0 c0 d0) to out, (a1 b1 c1 d1) to out + stride, and so on. */
function storeTransposed(out: usize, stride: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab = i32x4.shuffle(a, b, 0, 4, 1, 5);
  const cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
  v128.store(out, i64x2.shuffle(ab, cd, 0, 2));
  v128.store(out + stride, i64x2.shuffle(ab, cd, 1, 3));
  const ab2 = i32x4.shuffle(a, b, 2, 6, 3, 7);
  const cd2 = i32x4.shuffle(c, d, 2, 6, 3, 7);
  v128.store(out + 2 * stride, i64x2.shuffle(ab2, cd2, 0, 2));
  v128.store(out + 3 * stride, i64x2.shuffle(ab2, cd2, 1, 3));
}

/** Address of listed row n; beyond the list, of its last row: what comes of it is masked. */
function rowAt(source: usize, rowBytes: usize, list: usize, n: i32, count: i32): usize {
  return source + <usize>load<i32>(list + words(min(n, count - 1))) * rowBytes;
}

/** Columns in, lanes out: [width, 8] = factor times up to eight listed rows. */
// prettier-ignore
function packLanes(
  out: usize, source: usize, rowBytes: usize, list: usize, count: i32, width: i32, factor: f32,
): void {
  const factors = f32x4.splat(factor);
  const whole = words(width & ~3);
  const rest = width & 3;
  for (let half = 0; half < LANES; half += 4, out += 16) {
    const row0 = rowAt(source, rowBytes, list, half, count);
    const row1 = rowAt(source, rowBytes, list, half + 1, count);
    const row2 = rowAt(source, rowBytes, list, half + 2, count);
    const row3 = rowAt(source, rowBytes, list, half + 3, count);
    for (let at: usize = 0; at < whole; at += 16) {
      storeTransposed(
        out + at * LANES, LANE_BYTES,
        f32x4.mul(v128.load(row0 + at), factors), f32x4.mul(v128.load(row1 + at), factors),
        f32x4.mul(v128.load(row2 + at), factors), f32x4.mul(v128.load(row3 + at), factors),
      );
    }
    if (rest) {
      storeTransposed(
        out + whole * LANES, LANE_BYTES,
        f32x4.mul(loadTail(row0 + whole, rest), factors), f32x4.mul(loadTail(row1 + whole, rest), factors),
        f32x4.mul(loadTail(row2 + whole, rest), factors), f32x4.mul(loadTail(row3 + whole, rest), factors),
      );
    }
  }
}

/** The way back: lanes [width, 8], each times its factor in `factors` [8], to up to eight listed rows. */
// prettier-ignore
function unpackLanes(
  target: usize, rowBytes: usize, list: usize, source: usize, factors: usize, count: i32, width: i32, add: bool,
): void {
  const whole = words(width & ~3);
  const rest = width & 3;
  for (let half = 0; half < LANES && half < count; half += 4, source += 16, factors += 16) {
    const factor = v128.load(factors);
    const row0 = rowAt(target, rowBytes, list, half, count);
    const row1 = rowAt(target, rowBytes, list, half + 1, count);
    const row2 = rowAt(target, rowBytes, list, half + 2, count);
    const row3 = rowAt(target, rowBytes, list, half + 3, count);
    const rows = count - half;
    for (let at: usize = 0; at < whole + words(rest); at += 16) {
      const from = source + at * LANES;
      const a = f32x4.mul(v128.load(from), factor), b = f32x4.mul(v128.load(from, 32), factor);
      const c = f32x4.mul(v128.load(from, 64), factor), d = f32x4.mul(v128.load(from, 96), factor);
      const ab = i32x4.shuffle(a, b, 0, 4, 1, 5), cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
      const ab2 = i32x4.shuffle(a, b, 2, 6, 3, 7), cd2 = i32x4.shuffle(c, d, 2, 6, 3, 7);
      const columns = at < whole ? 4 : rest;
      storeRow(row0 + at, i64x2.shuffle(ab, cd, 0, 2), columns, add);
      if (rows > 1) storeRow(row1 + at, i64x2.shuffle(ab, cd, 1, 3), columns, add);
      if (rows > 2) storeRow(row2 + at, i64x2.shuffle(ab2, cd2, 0, 2), columns, add);
      if (rows > 3) storeRow(row3 + at, i64x2.shuffle(ab2, cd2, 1, 3), columns, add);
    }
  }
}

function storeRow(row: usize, x: v128, count: i32, add: bool): void {
  storeTail(row, add ? f32x4.add(x, loadTail(row, count)) : x, count);
}

/**
 * Listed rows by fives, transposed: [count / 5, width, 5]. The last columns of a panel may run into the next one,
 * which comes after, and behind the last panel into the buffer that follows, which is filled later.
 */
// prettier-ignore
function packPanels(out: usize, source: usize, rowBytes: usize, list: usize, count: i32, width: i32): void {
  const step = <usize>ROWS * 4;
  const whole = words(width & ~3);
  const rest = width & 3;
  for (let n = 0; n < count; n += ROWS, out += <usize>width * step) {
    const row0 = rowAt(source, rowBytes, list, n, count);
    const row1 = rowAt(source, rowBytes, list, n + 1, count);
    const row2 = rowAt(source, rowBytes, list, n + 2, count);
    const row3 = rowAt(source, rowBytes, list, n + 3, count);
    const row4 = rowAt(source, rowBytes, list, n + 4, count);
    let column = out;
    for (let at: usize = 0; at < whole; at += 16, column += 4 * step) {
      storeTransposed(
        column, step, v128.load(row0 + at), v128.load(row1 + at), v128.load(row2 + at), v128.load(row3 + at),
      );
      const fifth = v128.load(row4 + at);
      v128.store_lane<f32>(column, fifth, 0, 16);
      v128.store_lane<f32>(column, fifth, 1, 36);
      v128.store_lane<f32>(column, fifth, 2, 56);
      v128.store_lane<f32>(column, fifth, 3, 76);
    }
    if (rest) {
      storeTransposed(
        column, step,
        loadTail(row0 + whole, rest), loadTail(row1 + whole, rest),
        loadTail(row2 + whole, rest), loadTail(row3 + whole, rest),
      );
      for (let i: usize = 0; i < words(rest); i += 4, column += step) {
        store<f32>(column, load<f32>(row4 + whole + i), 16);
      }
    }
  }
}

/** Listed rows one after another, each filled up with zeros to outRow bytes, then rows of zeros up to `rows`. */
// prettier-ignore
function packRows(
  out: usize, outRow: usize, source: usize, rowBytes: usize, list: usize,
  count: i32, rows: i32, width: i32, factor: f32,
): void {
  const factors = f32x4.splat(factor);
  const whole = words(width & ~3);
  const rest = width & 3;
  for (let n = 0; n < count; n++, out += outRow) {
    const row = rowAt(source, rowBytes, list, n, count);
    for (let at: usize = 0; at < whole; at += 16) v128.store(out + at, f32x4.mul(v128.load(row + at), factors));
    if (rest) storeTail(out + whole, f32x4.mul(loadTail(row + whole, rest), factors), rest);
    for (let at = words(width); at < outRow; at += 4) store<f32>(out + at, 0);
  }
  if (rows > count) memory.fill(out, 0, <usize>(rows - count) * outRow);
}

/** Adds the ALiBi term to `count` rows of scores and takes what eight queries do not see to -inf. */
// prettier-ignore
function maskScores(
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
function exponentials(scores: usize, count: i32, max: usize, total: usize, oT: usize, width: i32): void {
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

/** Of `rows` times `columns` floats; sizes of scratch memory are f64, so that none wraps. */
function floatBytes(rows: i32, columns: i32): f64 {
  return 4 * <f64>rows * <f64>columns;
}

/** Bytes of scratch memory. */
// prettier-ignore
export function softmaxAttentionForwardScratchBytes(
  queryCount: i32, keyCount: i32, headDim: i32, valueDim: i32,
): f64 {
  if (queryCount < FEW) return softmaxAttentionWeightsScratchBytes(keyCount);
  const fixed = <f64>(bytes(KEY_TILE, LANES) + 2 * QUERY_TILE_BYTES);
  const queries = floatBytes(QUERY_TILE, ROWS) + floatBytes(QUERY_TILE, headDim);
  const outputs = floatBytes(QUERY_TILE, ROWS) + floatBytes(QUERY_TILE, valueDim);
  const fives = ceil<f64>(<f64>keyCount / ROWS) * (4 * ROWS);
  return fixed + queries + outputs + fives * (<f64>headDim + up(valueDim, ROWS));
}

/** Bytes of scratch memory: the scores of a query. */
export function softmaxAttentionWeightsScratchBytes(keyCount: i32): f64 {
  return 4 * up(keyCount, 4);
}

/** roundUp where the result may not be an i32. */
function up(n: i32, to: i32): f64 {
  return ceil<f64>(<f64>n / to) * to;
}

/** One pass. @returns the number of scores computed, with those that a mask then takes out */
// prettier-ignore
export function softmaxAttentionForward(
  o: usize, logSumExp: usize,
  q: usize, k: usize, v: usize, alibiSlopes: usize,
  queries: usize, keys: usize, from: usize, to: usize, scratch: usize,
  queryCount: i32, keyCount: i32, qLen: i32, nHeads: i32, nKvHeads: i32, headDim: i32, valueDim: i32,
  queryOffset: i32, scale: f32, continued: bool,
): f64 {
  const group = nHeads / nKvHeads;
  const qRow = bytes(nHeads, headDim), kRow = bytes(nKvHeads, headDim);
  const oRow = bytes(nHeads, valueDim), vRow = bytes(nKvHeads, valueDim);
  let computed: f64 = 0;

  if (queryCount < FEW) {
    for (let h = 0; h < nHeads; h++) {
      const kh = k + bytes(h / group, headDim), vh = v + bytes(h / group, valueDim);
      for (let n = 0; n < queryCount; n++) {
        const t = load<i32>(queries + words(n));
        const first = load<i32>(from + words(n)), last = load<i32>(to + words(n));
        attendRow(
          o + bytes(t * nHeads + h, valueDim), logSumExp + words(h * qLen + t), q + bytes(t * nHeads + h, headDim),
          kh, vh, keys, scratch, kRow, vRow, first, last, headDim, valueDim,
          queryOffset + t, scale, slopeOf(alibiSlopes, h), continued,
        );
        computed += <f64>max(0, last - first);
      }
    }
    return computed;
  }

  const padded = roundUp(keyCount, ROWS);
  const scores = scratch;
  const maxima = scores + bytes(KEY_TILE, LANES);
  const totals = maxima + QUERY_TILE_BYTES;
  const qT = totals + QUERY_TILE_BYTES, qPanel = lanesBytes(headDim);
  const oT = qT + PANELS * qPanel, oPanel = lanesBytes(valueDim);
  const kPanels = oT + PANELS * oPanel;
  const vRows = kPanels + bytes(padded, headDim), vWide = words(roundUp(valueDim, ROWS));

  for (let kv = 0; kv < nKvHeads; kv++) {
    packPanels(kPanels, k + bytes(kv, headDim), kRow, keys, keyCount, headDim);
    packRows(vRows, vWide, v + bytes(kv, valueDim), vRow, keys, keyCount, padded, valueDim, 1);
    for (let h = kv * group; h < (kv + 1) * group; h++) {
      const slope = slopeOf(alibiSlopes, h);
      const qh = q + bytes(h, headDim), oh = o + bytes(h, valueDim), sums = logSumExp + words(h * qLen);
      for (let start = 0; start < queryCount; start += QUERY_TILE) {
        const stop = min(start + QUERY_TILE, queryCount);
        for (let n = start; n < stop; n += LANES) {
          const panel = <usize>((n - start) / LANES), lane = panel * LANE_BYTES;
          const list = queries + words(n), count = stop - n;
          packLanes(qT + panel * qPanel, qh, qRow, list, count, headDim, scale);
          if (continued) packLanes(oT + panel * oPanel, oh, oRow, list, count, valueDim, 1);
          else memory.fill(oT + panel * oPanel, 0, oPanel);
          openPanel(maxima + lane, totals + lane, sums, list, count, continued);
        }

        const end = load<i32>(to + words(stop) - 4);
        for (let key = roundDown(load<i32>(from + words(start))); key < end; key += KEY_TILE) {
          const tileEnd = min(key + KEY_TILE, end);
          for (let n = start; n < stop; n += LANES) {
            const panel = <usize>((n - start) / LANES), lane = panel * LANE_BYTES;
            const first = firstKey(from, n, key);
            const count = lastKey(to, n, stop, tileEnd) - first;
            if (count <= 0) continue;
            const rows = roundUp(count, ROWS);
            const oPacked = oT + panel * oPanel;
            dots(scores, LANE_BYTES, kPanels + bytes(first, headDim), qT + panel * qPanel, rows, headDim);
            if (slope != 0 || !seesAll(from, to, n, stop, first, first + rows)) {
              maskScores(
                scores, LANE_BYTES, rows, first, keys, from + words(n), to + words(n),
                queries + words(n), queryOffset, slope,
              );
            }
            exponentials(scores, rows, maxima + lane, totals + lane, oPacked, valueDim);
            mix(
              oPacked, vRows + <usize>first * vWide, vWide, scores, LANE_BYTES,
              first, first + count, from + words(n), to + words(n), min(LANES, stop - n),
            );
            computed += <f64>(rows * LANES);
          }
        }

        for (let n = start; n < stop; n += LANES) {
          const panel = <usize>((n - start) / LANES), lane = panel * LANE_BYTES;
          const list = queries + words(n), count = stop - n;
          closePanel(maxima + lane, totals + lane, sums, list, count);
          unpackLanes(oh, oRow, list, oT + panel * oPanel, totals + lane, count, valueDim, false);
        }
      }
    }
  }
  return computed;
}

function slopeOf(alibiSlopes: usize, h: i32): f32 {
  return alibiSlopes == 0 ? 0 : load<f32>(alibiSlopes + words(h));
}

/** The first key number, on a register tile, from `least` up that a query of the panel at n sees. */
function firstKey(from: usize, n: i32, least: i32): i32 {
  return max(least, roundDown(load<i32>(from + words(n))));
}

/** The end of the key numbers, at most `most`, that a query of the panel at n sees. */
function lastKey(to: usize, n: i32, stop: i32, most: i32): i32 {
  return min(most, load<i32>(to + words(min(n + LANES, stop)) - 4));
}

/** True if the panel at n is full and each of its queries sees the key numbers first <= j < last. */
function seesAll(from: usize, to: usize, n: i32, stop: i32, first: i32, last: i32): bool {
  return (
    n + LANES <= stop && first >= load<i32>(from + words(n + LANES) - 4) && last <= load<i32>(to + words(n))
  );
}

/** out[j] = panels[j] . lanes, for `rows` keys; lanes [width, 8]. */
// prettier-ignore
function dots(out: usize, outRow: usize, panels: usize, lanes: usize, rows: i32, width: i32): void {
  for (let j = 0; j < rows; j += ROWS, out += ROWS * outRow, panels += bytes(ROWS, width)) {
    tile(out, outRow, panels, ROWS * 4, lanes, LANE_BYTES, width, false);
  }
}

/**
 * lanes [.., 8] += sum_j rows[j] weights[j] over the keys first <= j < last, weights[j] of eight lanes; rows have
 * `wide` bytes, by fives. Each of the `count` queries of the panel takes the keys that it sees, from <= j < to.
 */
// prettier-ignore
function mix(
  lanes: usize, rows: usize, wide: usize, weights: usize, weightsRow: usize,
  first: i32, last: i32, from: usize, to: usize, count: i32,
): void {
  // Between these, all see all.
  const begin = min(last, max(first, load<i32>(from + words(count - 1))));
  const end = max(begin, min(last, load<i32>(to)));
  const rowsAll = <usize>(begin - first) * wide, weightsAll = <usize>(begin - first) * weightsRow;
  const rowsEnd = <usize>(end - first) * wide, weightsEnd = <usize>(end - first) * weightsRow;
  for (let c: usize = 0; c < wide; c += ROWS * 4, rows += ROWS * 4, lanes += ROWS * LANE_BYTES) {
    if (begin > first) edgeTile(lanes, rows, wide, weights, weightsRow, first, begin, from, to);
    if (end > begin) {
      tile(lanes, LANE_BYTES, rows + rowsAll, wide, weights + weightsAll, weightsRow, end - begin, true);
    }
    if (last > end) edgeTile(lanes, rows + rowsEnd, wide, weights + weightsEnd, weightsRow, end, last, from, to);
  }
}

/** Starts a panel's softmax: with nothing, or with what came before as a key of score logSumExp and value o. */
// prettier-ignore
function openPanel(maxima: usize, totals: usize, sums: usize, list: usize, count: i32, continued: bool): void {
  for (let i = 0; i < LANES; i++) {
    const before: f32 = continued && i < count ? load<f32>(sums + words(load<i32>(list + words(i)))) : -Infinity;
    store<f32>(maxima + words(i), before > LOWEST ? before : LOWEST);
    // NaN stays what it is: a sum of scores one of which is NaN.
    store<f32>(totals + words(i), before == -Infinity ? 0 : isNaN<f32>(before) ? before : 1);
  }
}

/** Writes logSumExp, and leaves the factor of o, 1 / total or 0, in place of the total. */
function closePanel(maxima: usize, totals: usize, sums: usize, list: usize, count: i32): void {
  for (let i = 0; i < min(count, LANES); i++) {
    const total = load<f32>(totals + words(i));
    const logSum: f32 = total == 0 ? -Infinity : load<f32>(maxima + words(i)) + Mathf.log(total);
    store<f32>(sums + words(load<i32>(list + words(i))), logSum);
    store<f32>(totals + words(i), total == 0 ? 0 : 1 / total);
  }
}

/** scores[j - first] of one query for the key numbers first <= j < last, four at a time; `q` is unscaled. */
// prettier-ignore
function scoreRow(
  scores: usize, q: usize, k: usize, keys: usize, kRow: usize,
  first: i32, last: i32, headDim: i32, position: i32, scale: f32, slope: f32,
): void {
  const whole = words(headDim & ~3);
  const rest = headDim & 3;
  const scales = f32x4.splat(scale), slopes = f32x4.splat(slope), positions = i32x4.splat(position);
  for (let n = first; n < last; n += 4, scores += 16) {
    const list = keys + words(n);
    // The last four may go beyond the keys: those are then the first of the four again.
    const row0 = k + <usize>load<i32>(list) * kRow;
    const row1 = n + 1 < last ? k + <usize>load<i32>(list, 4) * kRow : row0;
    const row2 = n + 2 < last ? k + <usize>load<i32>(list, 8) * kRow : row0;
    const row3 = n + 3 < last ? k + <usize>load<i32>(list, 12) * kRow : row0;
    let a = f32x4.splat(0), b = a, c = a, d = a;
    for (let i: usize = 0; i < whole; i += 16) {
      const x = v128.load(q + i);
      a = madd(x, v128.load(row0 + i), a);
      b = madd(x, v128.load(row1 + i), b);
      c = madd(x, v128.load(row2 + i), c);
      d = madd(x, v128.load(row3 + i), d);
    }
    if (rest) {
      const x = loadTail(q + whole, rest);
      a = madd(x, loadTail(row0 + whole, rest), a);
      b = madd(x, loadTail(row1 + whole, rest), b);
      c = madd(x, loadTail(row2 + whole, rest), c);
      d = madd(x, loadTail(row3 + whole, rest), d);
    }
    const ab = f32x4.add(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
    const cd = f32x4.add(i32x4.shuffle(c, d, 0, 4, 1, 5), i32x4.shuffle(c, d, 2, 6, 3, 7));
    const dots = f32x4.add(i64x2.shuffle(ab, cd, 0, 2), i64x2.shuffle(ab, cd, 1, 3));
    const distances = f32x4.convert_i32x4_s(i32x4.sub(v128.load(list), positions));
    v128.store(scores, madd(dots, scales, f32x4.mul(slopes, distances)));
  }
}

/** One query of one head: scores [last - first], then their softmax, then the values. */
// prettier-ignore
function attendRow(
  o: usize, logSumExp: usize, q: usize, k: usize, v: usize, keys: usize, scores: usize,
  kRow: usize, vRow: usize, first: i32, last: i32, headDim: i32, valueDim: i32,
  position: i32, scale: f32, slope: f32, continued: bool,
): void {
  scoreRow(scores, q, k, keys, kRow, first, last, headDim, position, scale, slope);
  const before: f32 = continued ? load<f32>(logSumExp) : -Infinity;
  const end = scores + words(max(last - first, 0));
  let most: f32 = before > LOWEST ? before : LOWEST;
  for (let at = scores; at < end; at += 4) most = load<f32>(at) > most ? load<f32>(at) : most;

  const kept = f32x4.extract_lane(expNegative(f32x4.splat(before - most)), 0);
  const maxima = f32x4.splat(most);
  let totals = f32x4.splat(0);
  for (let at = scores; at < end; at += 16) {
    const count = <i32>((end - at) >> 2);
    const p = expNegative(f32x4.sub(v128.load(at), maxima));
    v128.store(at, p);
    // Lanes beyond the keys do not count.
    if (count >= 4) totals = f32x4.add(totals, p);
    else totals = f32x4.add(totals, loadTail(at, count));
  }
  const total = kept + sum(totals);
  store<f32>(logSumExp, total == 0 ? -Infinity : most + Mathf.log(total));
  const share: f32 = total == 0 ? 0 : 1 / total;
  const shares = f32x4.splat(share), keptShares = f32x4.splat(kept * share);

  const width = words(valueDim);
  const list = keys + words(first);
  let c: usize = 0;
  for (; c + 128 <= width; c += 128) {
    let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0;
    for (let at = scores; at < end; at += 4) {
      const row = v + <usize>load<i32>(list + (at - scores)) * vRow + c;
      const p = v128.load32_splat(at);
      a0 = madd(p, v128.load(row), a0);     a1 = madd(p, v128.load(row, 16), a1);
      a2 = madd(p, v128.load(row, 32), a2); a3 = madd(p, v128.load(row, 48), a3);
      a4 = madd(p, v128.load(row, 64), a4); a5 = madd(p, v128.load(row, 80), a5);
      a6 = madd(p, v128.load(row, 96), a6); a7 = madd(p, v128.load(row, 112), a7);
    }
    const out = o + c;
    storeMixed(out, a0, shares, keptShares, 4, continued);
    storeMixed(out + 16, a1, shares, keptShares, 4, continued);
    storeMixed(out + 32, a2, shares, keptShares, 4, continued);
    storeMixed(out + 48, a3, shares, keptShares, 4, continued);
    storeMixed(out + 64, a4, shares, keptShares, 4, continued);
    storeMixed(out + 80, a5, shares, keptShares, 4, continued);
    storeMixed(out + 96, a6, shares, keptShares, 4, continued);
    storeMixed(out + 112, a7, shares, keptShares, 4, continued);
  }
  for (; c < width; c += 16) {
    const count = <i32>((width - c) >> 2);
    let a = f32x4.splat(0);
    for (let at = scores; at < end; at += 4) {
      a = madd(v128.load32_splat(at), loadTail(v + <usize>load<i32>(list + (at - scores)) * vRow + c, count), a);
    }
    storeMixed(o + c, a, shares, keptShares, count, continued);
  }
}

function storeMixed(o: usize, x: v128, shares: v128, keptShares: v128, count: i32, continued: bool): void {
  const y = f32x4.mul(x, shares);
  storeTail(o, continued ? madd(loadTail(o, count), keptShares, y) : y, count);
}

/** weights[h, t, j] = p[t,j] of one pass, into a matrix [nHeads, qLen, kLen] that holds zeros elsewhere. */
// prettier-ignore
export function softmaxAttentionWeights(
  weights: usize, logSumExp: usize, q: usize, k: usize, alibiSlopes: usize,
  queries: usize, keys: usize, from: usize, to: usize, scratch: usize,
  queryCount: i32, qLen: i32, kLen: i32, nHeads: i32, nKvHeads: i32, headDim: i32, queryOffset: i32, scale: f32,
): void {
  const group = nHeads / nKvHeads;
  for (let h = 0; h < nHeads; h++) {
    const slope = alibiSlopes ? load<f32>(alibiSlopes + words(h)) : 0;
    for (let n = 0; n < queryCount; n++) {
      const list = words(n);
      const first = load<i32>(from + list), last = load<i32>(to + list);
      const t = load<i32>(queries + list);
      scoreRow(
        scratch, q + bytes(t * nHeads + h, headDim), k + bytes(h / group, headDim), keys, bytes(nKvHeads, headDim),
        first, last, headDim, queryOffset + t, scale, slope,
      );
      const sums = f32x4.splat(load<f32>(logSumExp + words(h * qLen + t)));
      const row = weights + bytes(h * qLen + t, kLen);
      for (let j = first; j < last; j += 4) {
        const p = scratch + words(j - first);
        v128.store(p, expNegative(f32x4.sub(v128.load(p), sums)));
        for (let i = 0; i < min(4, last - j); i++) {
          const key = load<i32>(keys + words(j + i));
          store<f32>(row + words(key), load<f32>(p + words(i)));
        }
      }
    }
  }
}

/** Bytes of scratch memory. */
export function softmaxAttentionBackwardScratchBytes(keyCount: i32, headDim: i32, valueDim: i32): f64 {
  const keys = up(keyCount, ROWS);
  const fixed = <f64>(2 * bytes(KEY_TILE, QUERY_TILE) + 2 * QUERY_TILE_BYTES + LANE_BYTES + ROWS * 8);
  const lanes = 4 * QUERY_TILE * (3 * ROWS + 2 * <f64>headDim + <f64>valueDim);
  const rows = 4 * (QUERY_TILE + keys) * (up(headDim, LANES) + up(valueDim, LANES));
  return fixed + lanes + rows + 4 * keys * (<f64>headDim + <f64>valueDim + up(headDim, ROWS));
}

/**
 * Adds the gradients of one pass to dq, dk and dv. With delta[t] = dO[t] . o[t] - dLogSumExp[t]:
 *
 *   ds[t,j] = p[t,j] (dO[t] . v[j] - delta[t])      dv[j] += sum_t p[t,j] dO[t]
 *   dq[t] += scale sum_j ds[t,j] k[j]               dk[j] += scale sum_t ds[t,j] q[t]
 *
 * o and logSumExp are those of all passes together. dLogSumExp may be absent.
 */
// prettier-ignore
export function softmaxAttentionBackward(
  dq: usize, dk: usize, dv: usize,
  dO: usize, dLogSumExp: usize, q: usize, k: usize, v: usize, o: usize, logSumExp: usize, alibiSlopes: usize,
  queries: usize, keys: usize, from: usize, to: usize, scratch: usize,
  queryCount: i32, keyCount: i32, qLen: i32, nHeads: i32, nKvHeads: i32, headDim: i32, valueDim: i32,
  queryOffset: i32, scale: f32,
): void {
  const group = nHeads / nKvHeads;
  const qRow = bytes(nHeads, headDim), kRow = bytes(nKvHeads, headDim);
  const oRow = bytes(nHeads, valueDim), vRow = bytes(nKvHeads, valueDim);
  const padded = roundUp(keyCount, ROWS);
  const headWide = words(roundUp(headDim, LANES)), valueWide = words(roundUp(valueDim, LANES));

  const p = scratch;
  const ds = p + bytes(KEY_TILE, QUERY_TILE);
  const sums = ds + bytes(KEY_TILE, QUERY_TILE);
  const deltas = sums + QUERY_TILE_BYTES;
  const scales = deltas + QUERY_TILE_BYTES;
  const ranges = scales + LANE_BYTES;
  const qT = ranges + ROWS * 8, qPanel = lanesBytes(headDim);
  const dqT = qT + PANELS * qPanel;
  const dOT = dqT + PANELS * qPanel, oPanel = lanesBytes(valueDim);
  const qRows = dOT + PANELS * oPanel;
  const dORows = qRows + QUERY_TILE * headWide;
  const dkRows = dORows + QUERY_TILE * valueWide;
  const dvRows = dkRows + <usize>padded * headWide;
  const kPanels = dvRows + <usize>padded * valueWide;
  const vPanels = kPanels + bytes(padded, headDim);
  const kRows = vPanels + bytes(padded, valueDim), kWide = words(roundUp(headDim, ROWS));
  v128.store(scales, f32x4.splat(scale));
  v128.store(scales, f32x4.splat(scale), 16);

  for (let kv = 0; kv < nKvHeads; kv++) {
    const kh = bytes(kv, headDim), vh = bytes(kv, valueDim);
    packPanels(kPanels, k + kh, kRow, keys, keyCount, headDim);
    packPanels(vPanels, v + vh, vRow, keys, keyCount, valueDim);
    packRows(kRows, kWide, k + kh, kRow, keys, keyCount, padded, headDim, 1);
    memory.fill(dkRows, 0, <usize>padded * (headWide + valueWide));
    for (let h = kv * group; h < (kv + 1) * group; h++) {
      const slope = slopeOf(alibiSlopes, h);
      const qh = bytes(h, headDim), oh = bytes(h, valueDim), sh = words(h * qLen);
      for (let start = 0; start < queryCount; start += QUERY_TILE) {
        const stop = min(start + QUERY_TILE, queryCount);
        const count = stop - start, list = queries + words(start);
        packRows(qRows, headWide, q + qh, qRow, list, count, roundUp(count, LANES), headDim, scale);
        packRows(dORows, valueWide, dO + oh, oRow, list, count, roundUp(count, LANES), valueDim, 1);
        memory.fill(sums, 0, 2 * QUERY_TILE_BYTES);
        for (let n = 0; n < count; n++) {
          const t = load<i32>(list + words(n));
          const at = sh + words(t);
          const logSum = load<f32>(logSumExp + at);
          // A query without keys: all masked, so that any finite number will do.
          store<f32>(sums + words(n), logSum == -Infinity ? 0 : logSum);
          const delta = dot(dORows + <usize>n * valueWide, o + oh + <usize>t * oRow, valueDim);
          store<f32>(deltas + words(n), dLogSumExp == 0 ? delta : delta - load<f32>(dLogSumExp + at));
        }
        for (let n = start; n < stop; n += LANES) {
          const panel = <usize>((n - start) / LANES);
          packLanes(qT + panel * qPanel, q + qh, qRow, queries + words(n), stop - n, headDim, scale);
          packLanes(dOT + panel * oPanel, dO + oh, oRow, queries + words(n), stop - n, valueDim, 1);
        }
        memory.fill(dqT, 0, PANELS * qPanel);

        const end = load<i32>(to + words(stop) - 4);
        for (let key = roundDown(load<i32>(from + words(start))); key < end; key += KEY_TILE) {
          const tileEnd = min(key + KEY_TILE, end);
          for (let n = start; n < stop; n += LANES) {
            const panel = <usize>((n - start) / LANES), lane = panel * LANE_BYTES;
            const first = firstKey(from, n, key);
            const rows = roundUp(max(0, lastKey(to, n, stop, tileEnd) - first), ROWS);
            if (rows == 0) continue;
            const corner = <usize>(first - key) * QUERY_TILE_BYTES + lane;
            dots(p + corner, QUERY_TILE_BYTES, kPanels + bytes(first, headDim), qT + panel * qPanel, rows, headDim);
            dots(ds + corner, QUERY_TILE_BYTES, vPanels + bytes(first, valueDim), dOT + panel * oPanel, rows, valueDim);
            if (slope != 0 || !seesAll(from, to, n, stop, first, first + rows)) {
              maskScores(
                p + corner, QUERY_TILE_BYTES, rows, first, keys, from + words(n), to + words(n),
                queries + words(n), queryOffset, slope,
              );
            }
            scoreGradients(p + corner, ds + corner, rows, sums + lane, deltas + lane);
            mix(
              dqT + panel * qPanel, kRows + <usize>first * kWide, kWide, ds + corner, QUERY_TILE_BYTES,
              first, first + rows, from + words(n), to + words(n), min(LANES, stop - n),
            );
          }

          for (let j = key; j < tileEnd; j += ROWS) {
            seeingQueries(ranges, j, min(ROWS, keyCount - j), from + words(start), to + words(start), count);
            const corner = <usize>(j - key) * QUERY_TILE_BYTES;
            addOuter(dkRows + <usize>j * headWide, headWide, ds + corner, qRows, ranges);
            addOuter(dvRows + <usize>j * valueWide, valueWide, p + corner, dORows, ranges);
          }
        }

        for (let n = start; n < stop; n += LANES) {
          const panel = <usize>((n - start) / LANES);
          unpackLanes(dq + qh, qRow, queries + words(n), dqT + panel * qPanel, scales, stop - n, headDim, true);
        }
      }
    }
    addRows(dk + kh, kRow, keys, dkRows, headWide, keyCount, headDim);
    addRows(dv + vh, vRow, keys, dvRows, valueWide, keyCount, valueDim);
  }
}

/**
 * ranges[r] = the queries begin <= n < end that see key number j + r, for r < 5; of rows beyond the keys there are
 * `keys`, the others are like the last. They are neighbours: from and to do not fall.
 */
function seeingQueries(ranges: usize, j: i32, keys: i32, from: usize, to: usize, count: i32): void {
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

/** out[r] += sum_n weights[r][n] rows[n] over the queries n of ranges[r], for r < 5; rows of `wide` bytes, by eights. */
function addOuter(out: usize, wide: usize, weights: usize, rows: usize, ranges: usize): void {
  // Between these, all see all.
  const begin = load<i32>(ranges + (ROWS - 1) * 8);
  const end = max(begin, load<i32>(ranges, 4));
  const edgeBefore = load<i32>(ranges) < begin;
  const edgeAfter = load<i32>(ranges + (ROWS - 1) * 8, 4) > end;
  for (let c: usize = 0; c < wide; c += LANE_BYTES, out += LANE_BYTES, rows += LANE_BYTES) {
    if (edgeBefore) outerEdge(out, wide, weights, rows, ranges, 0, begin);
    if (end > begin) {
      outerTile(out, wide, weights + words(begin), rows + <usize>begin * wide, wide, end - begin);
    }
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
    if (end > begin) outerRow(out, weights + words(begin), rows + <usize>begin * wide, wide, end - begin);
  }
}

/** Scores become p, what dO . v gave becomes ds; rows are QUERY_TILE long. */
function scoreGradients(p: usize, ds: usize, count: i32, sums: usize, deltas: usize): void {
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

function dot(a: usize, b: usize, size: i32): f32 {
  let acc = f32x4.splat(0);
  for (; size > 0; size -= 4, a += 16, b += 16) acc = madd(loadTail(a, size), loadTail(b, size), acc);
  return sum(acc);
}

/** Adds packed rows to the listed ones. */
// prettier-ignore
function addRows(
  target: usize, rowBytes: usize, list: usize, source: usize, sourceRow: usize, count: i32, width: i32,
): void {
  for (let n = 0; n < count; n++, source += sourceRow) {
    const row = rowAt(target, rowBytes, list, n, count);
    for (let w = 0; w < width; w += 4) {
      storeRow(row + words(w), v128.load(source + words(w)), width - w, true);
    }
  }
}
