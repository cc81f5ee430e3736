/**
 * Softmax attention of one sequence without its matrix (Milakov & Gimelshein 2018, arXiv:1805.02867, for the softmax
 * in one go over the keys; Rabe & Staats 2021, arXiv:2112.05682, and Dao 2023, arXiv:2307.08691, for the tiles and
 * the backward from logSumExp).
 *
 *   s[t,j] = scale q[t] . k[j] - slope (queryOffset + t - j)        for the keys j that query t sees
 *   logSumExp[t] = ln sum_j e^s[t,j]        p[t,j] = e^(s[t,j] - logSumExp[t])        o[t] = sum_j p[t,j] v[j]
 *
 *   q, dq  [qLen, nHeads, headDim]      o, dO  [qLen, nHeads, valueDim]      logSumExp  [nHeads, qLen]
 *   k, dk  [kLen, nKvHeads, headDim]    v, dv  [kLen, nKvHeads, valueDim]    alibiSlopes  [nHeads] or absent
 *
 * One call is one pass: the queries listed in `queries` [queryCount] meet the keys listed in `keys` [keyCount], and
 * query number n sees the key numbers from[n] <= j < to[n]. Masks, windows and sparse patterns are such passes; a
 * sparse pattern takes several, each adding its keys to what `o` and `logSumExp` already hold (`continued`).
 *
 * The caller guarantees: from and to do not fall, to <= keyCount; the four lists are readable up to a multiple of 8
 * elements, and from and to hold 0 there; no key comes twice for a query; nHeads is a multiple of nKvHeads; scratch
 * has the bytes that softmaxAttentionForwardBytes or -BackwardBytes names. A query without keys gets o = 0 and
 * logSumExp = -inf.
 *
 * Lanes run along queries: eight of them side by side, [.., 8] below, so that maxima, sums and masks are vertical.
 */
import { expNegative, loadTail, madd, storeTail, sum } from './simd';

const LANES: i32 = 8;
const LANE_BYTES: usize = 32;
/** Rows of a register tile. 5 x 2 accumulators: with 6 x 2 V8 spills on mul + add (34 instead of 56 GFLOP/s). */
const ROWS: i32 = 5;
const KEY_TILE: i32 = 60;
const QUERY_TILE: i32 = 64;
const QUERY_TILE_BYTES: usize = 256;
/** Fewer queries than this are attended one by one: to pack the keys would cost more than it saves. */
const FEW: i32 = 4;

function roundUp(n: i32, to: i32): i32 {
  return ((n + to - 1) / to) * to;
}

/** To the start of a register tile. */
function roundDown(n: i32): i32 {
  return n - (n % ROWS);
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
function outerTile(out: usize, outRow: usize, a: usize, b: usize, bStep: usize, depth: i32): void {
  // prettier-ignore
  const out1 = out + outRow, out2 = out1 + outRow, out3 = out2 + outRow, out4 = out3 + outRow;
  // prettier-ignore
  let c00 = v128.load(out), c01 = v128.load(out, 16), c10 = v128.load(out1), c11 = v128.load(out1, 16),
    c20 = v128.load(out2), c21 = v128.load(out2, 16), c30 = v128.load(out3), c31 = v128.load(out3, 16),
    c40 = v128.load(out4), c41 = v128.load(out4, 16);
  for (; depth > 0; depth--) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    c00 = madd(x, b0, c00);
    c01 = madd(x, b1, c01);
    x = v128.load32_splat(a, QUERY_TILE_BYTES);
    c10 = madd(x, b0, c10);
    c11 = madd(x, b1, c11);
    x = v128.load32_splat(a, 2 * QUERY_TILE_BYTES);
    c20 = madd(x, b0, c20);
    c21 = madd(x, b1, c21);
    x = v128.load32_splat(a, 3 * QUERY_TILE_BYTES);
    c30 = madd(x, b0, c30);
    c31 = madd(x, b1, c31);
    x = v128.load32_splat(a, 4 * QUERY_TILE_BYTES);
    c40 = madd(x, b0, c40);
    c41 = madd(x, b1, c41);
    a += 4;
    b += bStep;
  }
  // prettier-ignore
  {
    v128.store(out, c00);  v128.store(out, c01, 16);
    v128.store(out1, c10); v128.store(out1, c11, 16);
    v128.store(out2, c20); v128.store(out2, c21, 16);
    v128.store(out3, c30); v128.store(out3, c31, 16);
    v128.store(out4, c40); v128.store(out4, c41, 16);
  }
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
  return source + <usize>load<i32>(list + bytes(1, min(n, count - 1))) * rowBytes;
}

/** Columns in, lanes out: [width, 8] = factor times up to eight listed rows. */
// prettier-ignore
function packLanes(
  out: usize, source: usize, rowBytes: usize, list: usize, count: i32, width: i32, factor: f32,
): void {
  const factors = f32x4.splat(factor);
  const whole = bytes(1, width & ~3);
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
  const whole = bytes(1, width & ~3);
  const rest = width & 3;
  for (let half = 0; half < LANES && half < count; half += 4, source += 16, factors += 16) {
    const factor = v128.load(factors);
    const row0 = rowAt(target, rowBytes, list, half, count);
    const row1 = rowAt(target, rowBytes, list, half + 1, count);
    const row2 = rowAt(target, rowBytes, list, half + 2, count);
    const row3 = rowAt(target, rowBytes, list, half + 3, count);
    const rows = count - half;
    for (let at: usize = 0; at < whole + bytes(1, rest); at += 16) {
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
 * Listed rows by fives, transposed: [count / 5, width, 5]. The last four columns of a panel may run into the next
 * one, which comes after, and behind the last panel into the buffer that follows, which is filled later.
 */
// prettier-ignore
function packPanels(out: usize, source: usize, rowBytes: usize, list: usize, count: i32, width: i32): void {
  const step = <usize>ROWS * 4;
  const whole = bytes(1, width & ~3);
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
      for (let i: usize = 0; i < bytes(1, rest); i += 4, column += step) store<f32>(column, load<f32>(row4 + whole + i), 16);
    }
  }
}

/** Listed rows one after another, each filled up with zeros to outRow bytes, then rows of zeros up to `rows`. */
// prettier-ignore
function packRows(
  out: usize, outRow: usize, source: usize, rowBytes: usize, list: usize, count: i32, rows: i32, width: i32, factor: f32,
): void {
  const factors = f32x4.splat(factor);
  const whole = bytes(1, width & ~3);
  const rest = width & 3;
  for (let n = 0; n < count; n++, out += outRow) {
    const row = rowAt(source, rowBytes, list, n, count);
    for (let at: usize = 0; at < whole; at += 16) v128.store(out + at, f32x4.mul(v128.load(row + at), factors));
    if (rest) storeTail(out + whole, f32x4.mul(loadTail(row + whole, rest), factors), rest);
    for (let at = bytes(1, width); at < outRow; at += 4) store<f32>(out + at, 0);
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
    const key = v128.load32_splat(keys + ((<usize>n) << 2));
    const seen0 = v128.and(i32x4.ge_s(number, from0), i32x4.lt_s(number, to0));
    const seen1 = v128.and(i32x4.ge_s(number, from1), i32x4.lt_s(number, to1));
    const s0 = madd(slopes, f32x4.convert_i32x4_s(i32x4.sub(key, position0)), v128.load(scores));
    const s1 = madd(slopes, f32x4.convert_i32x4_s(i32x4.sub(key, position1)), v128.load(scores, 16));
    v128.store(scores, v128.bitselect(s0, unseen, seen0));
    v128.store(scores, v128.bitselect(s1, unseen, seen1), 16);
  }
}

/** One step of the running softmax: scores become e^(s - max), and max, total and oT [width, 8] follow the new max. */
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

/** Bytes of scratch for one call of softmaxAttentionForward or softmaxAttentionWeights. */
export function softmaxAttentionForwardBytes(keyCount: i32, headDim: i32, valueDim: i32): usize {
  const keys = roundUp(keyCount, ROWS);
  const panels = <usize>(QUERY_TILE / LANES);
  const tiled =
    bytes(KEY_TILE, LANES) +
    2 * QUERY_TILE_BYTES +
    panels * (lanesBytes(headDim) + lanesBytes(valueDim)) +
    bytes(keys, headDim) +
    bytes(keys, roundUp(valueDim, ROWS));
  const single = bytes(1, keyCount + headDim + 8);
  return tiled > single ? tiled : single;
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
  const qHead = bytes(1, headDim), oHead = bytes(1, valueDim), sumHead = bytes(1, qLen);
  let computed: f64 = 0;

  if (queryCount < FEW) {
    for (let h = 0; h < nHeads; h++) {
      const kv = <usize>(h / group);
      const slope = alibiSlopes ? load<f32>(alibiSlopes + ((<usize>h) << 2)) : 0;
      for (let n = 0; n < queryCount; n++) {
        const list = (<usize>n) << 2;
        const t = <usize>load<i32>(queries + list);
        const first = load<i32>(from + list), last = load<i32>(to + list);
        attendRow(
          o + t * oRow + <usize>h * oHead, logSumExp + <usize>h * sumHead + (t << 2),
          q + t * qRow + <usize>h * qHead, k + kv * qHead, v + kv * oHead,
          keys, scratch, kRow, vRow, first, last, headDim, valueDim, queryOffset + <i32>t, scale, slope, continued,
        );
        if (last > first) computed += <f64>(last - first);
      }
    }
    return computed;
  }

  const scores = scratch;
  const maxima = scores + bytes(KEY_TILE, LANES);
  const total = maxima + QUERY_TILE_BYTES;
  const qT = total + QUERY_TILE_BYTES, qPanel = lanesBytes(headDim);
  const oT = qT + (QUERY_TILE / LANES) * qPanel, oPanel = lanesBytes(valueDim);
  const kPanels = oT + (QUERY_TILE / LANES) * oPanel;
  const vRows = kPanels + bytes(roundUp(keyCount, ROWS), headDim), vWide = bytes(1, roundUp(valueDim, ROWS));

  for (let kv = 0; kv < nKvHeads; kv++) {
    packPanels(kPanels, k + <usize>kv * qHead, kRow, keys, keyCount, headDim);
    packRows(vRows, vWide, v + <usize>kv * oHead, vRow, keys, keyCount, roundUp(keyCount, ROWS), valueDim, 1);
    for (let h = kv * group; h < (kv + 1) * group; h++) {
      const slope = alibiSlopes ? load<f32>(alibiSlopes + ((<usize>h) << 2)) : 0;
      const qh = q + <usize>h * qHead, oh = o + <usize>h * oHead, sums = logSumExp + <usize>h * sumHead;
      for (let start = 0; start < queryCount; start += QUERY_TILE) {
        const stop = min(start + QUERY_TILE, queryCount);
        let lane = 0; // offset of the panel in maxima and total
        let panel = 0;
        for (let n = start; n < stop; n += LANES, panel++, lane += LANE_BYTES) {
          const list = queries + ((<usize>n) << 2);
          const count = min(stop - n, LANES);
          packLanes(qT + panel * qPanel, qh, qRow, list, count, headDim, scale);
          const oPacked = oT + panel * oPanel;
          if (continued) packLanes(oPacked, oh, oRow, list, count, valueDim, 1);
          else memory.fill(oPacked, 0, oPanel);
          for (let i: usize = 0; i < LANE_BYTES; i += 4) {
            // What came before is one more key, of score logSumExp and value o.
            let before: f32 = -Infinity;
            if (continued && <i32>(i >> 2) < count) before = load<f32>(sums + ((<usize>load<i32>(list + i)) << 2));
            store<f32>(maxima + lane + i, before > -f32.MAX_VALUE ? before : -f32.MAX_VALUE);
            store<f32>(total + lane + i, before > -f32.MAX_VALUE ? 1 : 0);
          }
        }

        const end = load<i32>(to + ((<usize>stop) << 2) - 4);
        for (let tileFrom = roundDown(load<i32>(from + ((<usize>start) << 2))); tileFrom < end; tileFrom += KEY_TILE) {
          const tileTo = min(tileFrom + KEY_TILE, end);
          lane = 0;
          panel = 0;
          for (let n = start; n < stop; n += LANES, panel++, lane += LANE_BYTES) {
            const list = (<usize>n) << 2;
            const last = ((<usize>min(n + LANES, stop)) << 2) - 4;
            const first = max(tileFrom, roundDown(load<i32>(from + list)));
            const count = min(tileTo, load<i32>(to + last)) - first;
            if (count <= 0) continue;
            const rows = roundUp(count, ROWS);
            const qPacked = qT + panel * qPanel, oPacked = oT + panel * oPanel;
            for (let j = 0; j < rows; j += ROWS) {
              tile(scores + <usize>j * LANE_BYTES, LANE_BYTES, kPanels + bytes(first + j, headDim), ROWS * 4, qPacked, LANE_BYTES, headDim, false);
            }
            const full = n + LANES <= stop && first >= load<i32>(from + last) && first + rows <= load<i32>(to + list);
            if (!full || slope != 0) {
              maskScores(scores, LANE_BYTES, rows, first, keys, from + list, to + list, queries + list, queryOffset, slope);
            }
            exponentials(scores, rows, maxima + lane, total + lane, oPacked, valueDim);
            const values = vRows + <usize>first * vWide;
            for (let c: usize = 0; c < vWide; c += ROWS * 4) {
              tile(oPacked + c * LANES, LANE_BYTES, values + c, vWide, scores, LANE_BYTES, count, true);
            }
            computed += <f64>(rows * LANES);
          }
        }

        lane = 0;
        panel = 0;
        for (let n = start; n < stop; n += LANES, panel++, lane += LANE_BYTES) {
          const list = queries + ((<usize>n) << 2);
          const count = min(stop - n, LANES);
          for (let i: usize = 0; i < (<usize>count) << 2; i += 4) {
            const sumOf = load<f32>(total + lane + i);
            store<f32>(sums + ((<usize>load<i32>(list + i)) << 2), sumOf > 0 ? load<f32>(maxima + lane + i) + Mathf.log(sumOf) : -Infinity);
            store<f32>(total + lane + i, sumOf > 0 ? 1 / sumOf : 0);
          }
          unpackLanes(oh, oRow, list, oT + panel * oPanel, total + lane, count, valueDim, false);
        }
      }
    }
  }
  return computed;
}

/** scores[j - first] of one query for the key numbers first <= j < last, four at a time; `q` is unscaled. */
// prettier-ignore
function scoreRow(
  scores: usize, q: usize, k: usize, keys: usize, kRow: usize,
  first: i32, last: i32, headDim: i32, position: i32, scale: f32, slope: f32,
): void {
  const whole = (<usize>(headDim & ~3)) << 2;
  const rest = headDim & 3;
  const scales = f32x4.splat(scale), slopes = f32x4.splat(slope), positions = i32x4.splat(position);
  for (let n = first; n < last; n += 4, scores += 16) {
    const list = keys + ((<usize>n) << 2);
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
  const end = scores + ((<usize>max(last - first, 0)) << 2);
  let most: f32 = before > -f32.MAX_VALUE ? before : -f32.MAX_VALUE;
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
  store<f32>(logSumExp, total > 0 ? most + Mathf.log(total) : -Infinity);
  const share: f32 = total > 0 ? 1 / total : 0;
  const shares = f32x4.splat(share), keptShares = f32x4.splat(kept * share);

  const width = (<usize>valueDim) << 2;
  const list = keys + ((<usize>first) << 2);
  let c: usize = 0;
  for (; c + 64 <= width; c += 64) {
    let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
    for (let at = scores; at < end; at += 4) {
      const row = v + <usize>load<i32>(list + (at - scores)) * vRow + c;
      const p = v128.load32_splat(at);
      a0 = madd(p, v128.load(row), a0);
      a1 = madd(p, v128.load(row, 16), a1);
      a2 = madd(p, v128.load(row, 32), a2);
      a3 = madd(p, v128.load(row, 48), a3);
    }
    storeMixed(o + c, a0, shares, keptShares, 4, continued);
    storeMixed(o + c + 16, a1, shares, keptShares, 4, continued);
    storeMixed(o + c + 32, a2, shares, keptShares, 4, continued);
    storeMixed(o + c + 48, a3, shares, keptShares, 4, continued);
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
    const slope = alibiSlopes ? load<f32>(alibiSlopes + ((<usize>h) << 2)) : 0;
    for (let n = 0; n < queryCount; n++) {
      const list = (<usize>n) << 2;
      const first = load<i32>(from + list), last = load<i32>(to + list);
      const t = load<i32>(queries + list);
      scoreRow(
        scratch, q + bytes(t * nHeads + h, headDim), k + bytes(h / group, headDim), keys, bytes(nKvHeads, headDim),
        first, last, headDim, queryOffset + t, scale, slope,
      );
      const sums = f32x4.splat(load<f32>(logSumExp + bytes(1, h * qLen + t)));
      const row = weights + bytes(h * qLen + t, kLen);
      for (let j = first; j < last; j += 4) {
        const p = scratch + bytes(1, j - first);
        v128.store(p, expNegative(f32x4.sub(v128.load(p), sums)));
        for (let i = 0; i < min(4, last - j); i++) {
          const key = load<i32>(keys + bytes(1, j + i));
          store<f32>(row + bytes(1, key), load<f32>(p + bytes(1, i)));
        }
      }
    }
  }
}

/** Bytes of scratch for one call of softmaxAttentionBackward. */
export function softmaxAttentionBackwardBytes(keyCount: i32, headDim: i32, valueDim: i32): usize {
  const keys = roundUp(keyCount, ROWS);
  const panels = <usize>(QUERY_TILE / LANES);
  return (
    2 * bytes(KEY_TILE, QUERY_TILE) +
    2 * QUERY_TILE_BYTES +
    LANE_BYTES +
    64 + // first and last key number of each panel
    panels * (2 * lanesBytes(headDim) + lanesBytes(valueDim)) +
    bytes(QUERY_TILE + keys, roundUp(headDim, LANES)) +
    bytes(QUERY_TILE + keys, roundUp(valueDim, LANES)) +
    bytes(keys, headDim) +
    bytes(keys, valueDim) +
    bytes(keys, roundUp(headDim, ROWS))
  );
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
  const qHead = bytes(1, headDim), oHead = bytes(1, valueDim), sumHead = bytes(1, qLen);
  const padded = roundUp(keyCount, ROWS);
  const headWide = bytes(1, roundUp(headDim, LANES)), valueWide = bytes(1, roundUp(valueDim, LANES));

  const p = scratch;
  const ds = p + bytes(KEY_TILE, QUERY_TILE);
  const sums = ds + bytes(KEY_TILE, QUERY_TILE);
  const deltas = sums + QUERY_TILE_BYTES;
  const scales = deltas + QUERY_TILE_BYTES;
  const ranges = scales + LANE_BYTES;
  const qT = ranges + 64, qPanel = lanesBytes(headDim);
  const dqT = qT + (QUERY_TILE / LANES) * qPanel;
  const dOT = dqT + (QUERY_TILE / LANES) * qPanel, oPanel = lanesBytes(valueDim);
  const qRows = dOT + (QUERY_TILE / LANES) * oPanel;
  const dORows = qRows + QUERY_TILE * headWide;
  const dkRows = dORows + QUERY_TILE * valueWide;
  const dvRows = dkRows + <usize>padded * headWide;
  const kPanels = dvRows + <usize>padded * valueWide;
  const vPanels = kPanels + bytes(padded, headDim);
  const kRows = vPanels + bytes(padded, valueDim), kWide = bytes(1, roundUp(headDim, ROWS));
  v128.store(scales, f32x4.splat(scale));
  v128.store(scales, f32x4.splat(scale), 16);

  for (let kv = 0; kv < nKvHeads; kv++) {
    const kh = <usize>kv * qHead, vh = <usize>kv * oHead;
    packPanels(kPanels, k + kh, kRow, keys, keyCount, headDim);
    packPanels(vPanels, v + vh, vRow, keys, keyCount, valueDim);
    packRows(kRows, kWide, k + kh, kRow, keys, keyCount, padded, headDim, 1);
    memory.fill(dkRows, 0, <usize>padded * (headWide + valueWide));
    for (let h = kv * group; h < (kv + 1) * group; h++) {
      const slope = alibiSlopes ? load<f32>(alibiSlopes + ((<usize>h) << 2)) : 0;
      const qh = <usize>h * qHead, oh = <usize>h * oHead, sh = <usize>h * sumHead;
      for (let start = 0; start < queryCount; start += QUERY_TILE) {
        const stop = min(start + QUERY_TILE, queryCount);
        const listed = queries + ((<usize>start) << 2);
        packRows(qRows, headWide, q + qh, qRow, listed, stop - start, roundUp(stop - start, LANES), headDim, scale);
        packRows(dORows, valueWide, dO + oh, oRow, listed, stop - start, roundUp(stop - start, LANES), valueDim, 1);
        memory.fill(sums, 0, 2 * QUERY_TILE_BYTES);
        for (let n = 0; n < stop - start; n++) {
          const t = <usize>load<i32>(listed + ((<usize>n) << 2));
          const at = sh + (t << 2);
          let delta = dot(dORows + <usize>n * valueWide, o + oh + t * oRow, valueDim);
          if (dLogSumExp) delta -= load<f32>(dLogSumExp + at);
          store<f32>(deltas + ((<usize>n) << 2), delta);
          const logSum = load<f32>(logSumExp + at);
          store<f32>(sums + ((<usize>n) << 2), logSum > -f32.MAX_VALUE ? logSum : 0); // all masked: p = 0
        }
        let panel = 0;
        for (let n = start; n < stop; n += LANES, panel++) {
          const list = queries + ((<usize>n) << 2);
          packLanes(qT + panel * qPanel, q + qh, qRow, list, stop - n, headDim, scale);
          packLanes(dOT + panel * oPanel, dO + oh, oRow, list, stop - n, valueDim, 1);
          memory.fill(dqT + panel * qPanel, 0, qPanel);
        }

        const end = load<i32>(to + ((<usize>stop) << 2) - 4);
        for (let tileFrom = roundDown(load<i32>(from + ((<usize>start) << 2))); tileFrom < end; tileFrom += KEY_TILE) {
          const tileTo = min(tileFrom + KEY_TILE, end);
          panel = 0;
          for (let n = start; n < stop; n += LANES, panel++) {
            const list = (<usize>n) << 2;
            const last = ((<usize>min(n + LANES, stop)) << 2) - 4;
            const first = max(tileFrom, roundDown(load<i32>(from + list)));
            const count = min(tileTo, load<i32>(to + last)) - first;
            const rows = count > 0 ? roundUp(count, ROWS) : 0;
            store<i32>(ranges + (panel << 3), first);
            store<i32>(ranges + (panel << 3), first + rows, 4);
            if (rows == 0) continue;
            const lane = <usize>panel * LANE_BYTES;
            const panelP = p + <usize>(first - tileFrom) * QUERY_TILE_BYTES + lane;
            const panelDs = ds + <usize>(first - tileFrom) * QUERY_TILE_BYTES + lane;
            for (let j = 0; j < rows; j += ROWS) {
              const at = <usize>j * QUERY_TILE_BYTES;
              tile(panelP + at, QUERY_TILE_BYTES, kPanels + bytes(first + j, headDim), ROWS * 4, qT + panel * qPanel, LANE_BYTES, headDim, false);
              tile(panelDs + at, QUERY_TILE_BYTES, vPanels + bytes(first + j, valueDim), ROWS * 4, dOT + panel * oPanel, LANE_BYTES, valueDim, false);
            }
            const full = n + LANES <= stop && first >= load<i32>(from + last) && first + rows <= load<i32>(to + list);
            if (!full || slope != 0) {
              maskScores(panelP, QUERY_TILE_BYTES, rows, first, keys, from + list, to + list, queries + list, queryOffset, slope);
            }
            scoreGradients(panelP, panelDs, rows, sums + lane, deltas + lane);
            for (let c: usize = 0; c < kWide; c += ROWS * 4) {
              tile(
                dqT + panel * qPanel + c * LANES, LANE_BYTES,
                kRows + <usize>first * kWide + c, kWide, panelDs, QUERY_TILE_BYTES, rows, true,
              );
            }
          }

          // Panels that have a key are neighbours: from and to do not fall.
          for (let j = tileFrom; j < tileTo; j += ROWS) {
            let begin = 0;
            while (begin < panel && load<i32>(ranges + (begin << 3), 4) <= j) begin++;
            let behind = begin;
            while (behind < panel && load<i32>(ranges + (behind << 3)) <= j) behind++;
            const depth = (behind - begin) * LANES;
            if (depth <= 0) continue;
            const at = <usize>(j - tileFrom) * QUERY_TILE_BYTES + <usize>begin * LANE_BYTES;
            const skipped = <usize>(begin * LANES);
            for (let c: usize = 0; c < headWide; c += LANE_BYTES) {
              outerTile(dkRows + <usize>j * headWide + c, headWide, ds + at, qRows + skipped * headWide + c, headWide, depth);
            }
            for (let c: usize = 0; c < valueWide; c += LANE_BYTES) {
              outerTile(dvRows + <usize>j * valueWide + c, valueWide, p + at, dORows + skipped * valueWide + c, valueWide, depth);
            }
          }
        }

        panel = 0;
        for (let n = start; n < stop; n += LANES, panel++) {
          unpackLanes(dq + qh, qRow, queries + ((<usize>n) << 2), dqT + panel * qPanel, scales, stop - n, headDim, true);
        }
      }
    }
    addRows(dk + kh, kRow, keys, dkRows, headWide, keyCount, headDim);
    addRows(dv + vh, vRow, keys, dvRows, valueWide, keyCount, valueDim);
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
function addRows(target: usize, rowBytes: usize, list: usize, source: usize, sourceRow: usize, count: i32, width: i32): void {
  for (let n = 0; n < count; n++, source += sourceRow) {
    const row = rowAt(target, rowBytes, list, n, count);
    for (let w = 0; w < width; w += 4) {
      storeRow(row + bytes(1, w), v128.load(source + bytes(1, w)), width - w, true);
    }
  }
}
