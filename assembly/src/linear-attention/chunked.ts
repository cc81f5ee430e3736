/**
 * Linear attention in chunks, plain or with a decay a head (Yang et al. 2023, arXiv:2312.06635, section 4): the same
 * function as `linearAttentionForward` of linear-attention.ts, as products of matrices. Of each head, with s[i] the sum
 * of the decays from the start of a chunk to step i, and S, z the state at its start,
 *
 *   o[i] = e^s[i] q[i] S + sum_{j <= i} e^(s[i] - s[j]) (q[i] . k[j]) v[j]      the same with z and 1 to normalise
 *   S   <- e^s[end] S    + sum_j e^(s[end] - s[j]) k[j] v[j]^T                  z alike
 *
 * where q and k have passed the feature map, and q the scale. s is in double precision: its differences keep all digits
 * that a float has. Nothing is divided by a decay. With a gate for each key channel the factor e^(s[i] - s[j]) would
 * stand within the dot product, where it can not be split into one of i and one of j without e^-s, which overflows: gates
 * stay with the recurrent form.
 *
 * All products go through one register tile. That of the output is a single one, [q | p] times [S; v], p being the
 * masked and decayed q k^T:
 *
 *   left   [dKey + steps, steps]   q and p, both transposed: a row holds one channel or one step j, for all steps i
 *   right  [dKey + steps, dValue]  S and v, in panels of 8 columns; one for each head, whose S stays there
 *
 * Where a chunk is short or sizes are no whole tiles, tiles read what memory holds and write rows that nobody reads.
 */
import { packPanels, scalePanels, unpackPanels } from '../matrix/panels';
import { narrowed, roundUp, roundUpLarge } from '../matrix/rows';
import { COLUMNS, ROWS, tile, tileRow, zeros } from '../matrix/tile';
import { exp, madd, storeTail, storeTransposed } from '../simd';
import { packRows, padded, scaleRows, shifted, touch } from '../state/rows';

/**
 * Steps of a chunk. The products within a chunk grow with it, the cost of starting tiles falls: at 64 x 64 chunks of 12
 * to 24 steps are equally fast, and 40 steps take 9 % longer.
 */
const CHUNK: i32 = 4 * ROWS;
const STEPS: i32 = 24; // CHUNK in whole tiles of columns
const ROW: usize = STEPS << 2;

/** e^-128 is 0 in a float. Logs cut off here sum up to finite numbers that keep the digits of the other logs. */
const FORGOTTEN: f32 = -128;

const laneIndex: usize = memory.data<i32>([0, 1, 2, 3], 16);

/** Bytes of `scratch` for so many pieces of heads, `dValue` being that of a piece: they do not depend on the length. */
export function linearAttentionChunkedForwardScratchBytes(nHeads: i32, dKey: i32, dValue: i32): f64 {
  const steps = <f64>STEPS;
  const key = roundUpLarge(<f64>dKey, 8);
  const value = roundUpLarge(<f64>dValue, 8);
  const shared = steps * (4 * key + steps + value + 5);
  return 4 * (shared + <f64>nHeads * ((<f64>dKey + steps) * value + key));
}

/** p = k q^T, but for the tiles that lie wholly where step i is before step j. */
function scores(p: usize, q: usize, k: usize, steps: i32, dKey: i32): void {
  for (let i = 0; i < steps; i += COLUMNS) {
    const at = (<usize>i) << 2;
    const end = min(i + COLUMNS, steps);
    for (let j = 0; j < end; j += ROWS) {
      tile(p + <usize>j * ROW + at, ROW, zeros, 0, k + ((<usize>j) << 2), ROW, q + at, ROW, dKey);
    }
  }
}

/**
 * out = left^T right; without the first `skipped` rows of both, and each step without the p of later ones. The rows of
 * v up to a tile's own are read by the whole tile, its own row by row: to multiply what is later by 0 would be no mask,
 * since 0 times NaN or infinity is NaN.
 */
// prettier-ignore
function outputs(
  out: usize, outRow: usize, left: usize, right: usize, panel: usize,
  skipped: i32, steps: i32, dKey: i32, dValue: i32,
): void {
  left += <usize>skipped * ROW;
  right += <usize>skipped * 32;
  const depth = dKey - skipped;
  for (let c = 0; c < dValue; c += COLUMNS) {
    let to = out + ((<usize>c) << 2);
    for (let i = 0; i < steps; i += ROWS) {
      const column = left + ((<usize>i) << 2);
      tile(to, outRow, zeros, 0, column, ROW, right, 32, depth + i);
      const own = <usize>(depth + i);
      for (let r = 0; r < ROWS; r++, to += outRow) {
        tileRow(to, column + own * ROW + ((<usize>r) << 2), ROW, right + (own << 5), 32, r + 1);
      }
    }
    right += panel;
  }
}

/**
 * S += k^T v, both in the panels of `right`. The last tile of a panel may run over the first rows of v, which have been
 * read by then.
 */
function update(right: usize, panel: usize, k: usize, kRow: usize, steps: i32, dKey: i32, dValue: i32): void {
  const values = (<usize>dKey) << 5;
  for (let c = 0; c < dValue; c += COLUMNS) {
    for (let i = 0; i < dKey; i += ROWS) {
      const at = right + ((<usize>i) << 5);
      tile(at, 32, at, 32, k + ((<usize>i) << 2), kRow, right + values, 32, steps);
    }
    right += panel;
  }
}

/** out[column][row] = source[row][column], in blocks of 4 x 4: both have room for sizes rounded up. */
function transpose(out: usize, source: usize, sourceRow: usize, rows: i32, columns: i32): void {
  for (let r = 0; r < rows; r += 4) {
    let to = out + ((<usize>r) << 2);
    let row0 = source;
    let row1 = row0 + sourceRow;
    let row2 = row1 + sourceRow;
    let row3 = row2 + sourceRow;
    for (let c = 0; c < columns; c += 4) {
      storeTransposed(to, ROW, v128.load(row0), v128.load(row1), v128.load(row2), v128.load(row3));
      to += 4 * ROW;
      row0 += 16;
      row1 += 16;
      row2 += 16;
      row3 += 16;
    }
    source += sourceRow * 4;
  }
}

/** Zeros in some rows of every panel. */
function zeroPanels(panels: usize, panel: usize, rows: i32, columns: i32): void {
  for (; columns > 0; columns -= COLUMNS, panels += panel) memory.fill(panels, 0, (<usize>rows) << 5);
}

/** s as above, its last value up to the end of the row; fromStart = e^s, toEnd = e^(s[end] - s). */
function chunkDecays(
  s: usize,
  fromStart: usize,
  toEnd: usize,
  decay: usize,
  stride: usize,
  steps: i32,
): void {
  let total: f64 = 0;
  for (let i = 0; i < STEPS; i++, decay += stride) {
    if (i < steps) {
      const log = load<f32>(decay);
      total += <f64>(log < FORGOTTEN ? FORGOTTEN : log);
    }
    store<f64>(s + ((<usize>i) << 3), total);
  }
  const end = f64x2.splat(total);
  for (let i: usize = 0; i < ROW; i += 16, s += 32) {
    const low = v128.load(s);
    const high = v128.load(s, 16);
    v128.store(fromStart + i, exp(narrowed(low, high)));
    v128.store(toEnd + i, exp(narrowed(f64x2.sub(end, low), f64x2.sub(end, high))));
  }
}

/** p[j][i] = 0 where i < j, as far as tiles read it: what is there may be anything, NaN too. */
function mask(p: usize, steps: i32): void {
  const lanes = v128.load(laneIndex);
  for (let j = 0, count = roundUp(steps, ROWS); j < count; j++, p += ROW) {
    const index = i32x4.splat(j);
    for (let i = (j - (j % ROWS)) & ~3; i < j; i += 4) {
      const at = p + ((<usize>i) << 2);
      v128.store(at, v128.and(v128.load(at), i32x4.ge_s(i32x4.add(lanes, i32x4.splat(i)), index)));
    }
  }
}

/** The same, with p[j][i] *= e^(s[i] - s[j]) elsewhere; masked before exp too. */
function maskDecayed(p: usize, s: usize, steps: i32): void {
  const lanes = v128.load(laneIndex);
  const count = roundUp(steps, ROWS);
  for (let j = 0; j < count; j++, p += ROW) {
    const sj = v128.load64_splat(s + ((<usize>j) << 3));
    const index = i32x4.splat(j);
    for (let i = (j - (j % ROWS)) & ~3; i < count; i += 4) {
      const at = p + ((<usize>i) << 2);
      const si = s + ((<usize>i) << 3);
      const wanted = i32x4.ge_s(i32x4.add(lanes, i32x4.splat(i)), index);
      const log = narrowed(f64x2.sub(v128.load(si), sj), f64x2.sub(v128.load(si, 16), sj));
      v128.store(at, v128.and(f32x4.mul(exp(v128.and(log, wanted)), v128.load(at)), wanted));
    }
  }
}

/** Multiplies each row of `left` by the factors, one for each step. */
function scaleSteps(rows: usize, factors: usize, count: i32, steps: i32): void {
  const end = (<usize>steps) << 2;
  for (let r = 0; r < count; r++, rows += ROW) {
    for (let i: usize = 0; i < end; i += 16) {
      v128.store(rows + i, f32x4.mul(v128.load(rows + i), v128.load(factors + i)));
    }
  }
}

/** inverse[i] = 1 / (q[i] . z + sum of p[i] + eps). */
function denominators(inverse: usize, left: usize, z: usize, steps: i32, dKey: i32, eps: f32): void {
  for (let i = 0; i < steps; i += 4) {
    let from = left + ((<usize>i) << 2);
    let acc = f32x4.splat(0);
    for (let n: usize = 0, end = (<usize>dKey) << 2; n < end; n += 4, from += ROW) {
      acc = madd(v128.load32_splat(z + n), v128.load(from), acc);
    }
    let own = f32x4.splat(0);
    for (let j = 0, end = min(i + 4, steps); j < end; j++, from += ROW) own = f32x4.add(own, v128.load(from));
    const denominator = f32x4.add(f32x4.add(acc, own), f32x4.splat(eps));
    v128.store(inverse + ((<usize>i) << 2), f32x4.div(f32x4.splat(1), denominator));
  }
}

/** z = factor z + the sum of rows. */
function moveNormalizer(z: usize, factor: f32, rows: usize, row: usize, steps: i32): void {
  const f = f32x4.splat(factor);
  for (let i: usize = 0; i < row; i += 16) {
    let acc = f32x4.splat(0);
    for (let at = rows + i, end = at + <usize>steps * row; at < end; at += row)
      acc = f32x4.add(acc, v128.load(at));
    v128.store(z + i, madd(f, v128.load(z + i), acc));
  }
}

/** Rows to ones that lie `stride` bytes apart, each times its factor; factors may be 0: all one. */
// prettier-ignore
function unpackScaled(target: usize, stride: usize, rows: usize, row: usize, factors: usize, steps: i32, size: i32): void {
  const whole = (<usize>(size & ~3)) << 2;
  const rest = size & 3;
  let f = f32x4.splat(1);
  for (let t = 0; t < steps; t++, target += stride, rows += row) {
    if (factors != 0) f = v128.load32_splat(factors + ((<usize>t) << 2));
    for (let i: usize = 0; i < whole; i += 16) v128.store(target + i, f32x4.mul(f, v128.load(rows + i)));
    if (rest) storeTail(target + whole, f32x4.mul(f, v128.load(rows + whole)), rest);
  }
}

/** As `linearAttentionForward` without a gate, cut into pieces alike. */
// prettier-ignore
export function linearAttentionChunkedForward(
  o: usize, lastState: usize, lastNormalizer: usize,
  q: usize, k: usize, v: usize, decay: usize, initialState: usize, initialNormalizer: usize,
  seqLen: i32, nHeads: i32, dKey: i32, dValue: i32,
  featureMap: i32, decayPerStep: i32, scale: f32, eps: f32,
  pieces: i32, scratch: usize, first: i32, count: i32,
): void {
  const width = dValue / pieces;
  const most = nHeads * pieces;
  const keyBytes = (<usize>padded(dKey)) << 2;
  const valueBytes = (<usize>padded(width)) << 2;
  const keyRow = (<usize>dKey) << 2;
  const valueRow = (<usize>dValue) << 2;
  const pieceRow = (<usize>width) << 2;
  const keyStride = keyRow * nHeads;
  const valueStride = valueRow * nHeads;
  const decayStride = decayPerStep ? (<usize>nHeads) << 2 : 0;
  const left = scratch;
  const keysAcross = left + STEPS * keyBytes + STEPS * ROW;
  const queries = keysAcross + STEPS * keyBytes;
  const keys = queries + STEPS * keyBytes;
  const out = keys + STEPS * keyBytes;
  const s = out + STEPS * valueBytes;
  const fromStart = s + 2 * ROW;
  const toEnd = fromStart + ROW;
  const whole = fromStart + ROW - 4; // e^s[end]
  const inverses = toEnd + ROW;
  const headsOfCall = inverses + ROW; // of every head: right, z
  const panel = (<usize>(dKey + STEPS)) << 5;
  const zAt = (<usize>padded(width) >> 3) * panel;
  const headBytes = zAt + keyBytes;
  const stateBytes = keyRow * dValue;
  const p = left + <usize>dKey * ROW;
  const values = (<usize>dKey) << 5;
  for (let b = first / most, p0 = first % most; count > 0; b++, p0 = 0) {
    const end = min(most, p0 + count);
    count -= end - p0;
    const h0 = p0 / pieces;
    const keyHeads = <usize>((end - 1) / pieces - h0 + 1) * keyRow;
    const valueHeads = <usize>(end - p0) * pieceRow;
    const heads = headsOfCall - <usize>p0 * headBytes;
    for (let piece = p0; piece < end; piece++) {
      const index = <usize>(b * nHeads + piece / pieces);
      const right = heads + <usize>piece * headBytes;
      const state = shifted(initialState, index * stateBytes + <usize>(piece % pieces) * pieceRow);
      if (state == 0) zeroPanels(right, panel, dKey, width);
      else packPanels(right, panel, COLUMNS, state, 4, valueRow, width, dKey);
      memory.fill(right + zAt, 0, keyBytes);
      if (initialNormalizer != 0) memory.copy(right + zAt, initialNormalizer + index * keyRow, keyRow);
    }
    for (let t = 0; t < seqLen; t += CHUNK) {
      const length = min(CHUNK, seqLen - t);
      const from = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads;
      const firstKey = (from + <usize>h0) * keyRow;
      const firstValue = from * valueRow + <usize>p0 * pieceRow;
      touch(q + firstKey, length, keyStride, keyHeads, out);
      touch(k + firstKey, length, keyStride, keyHeads, out);
      touch(v + firstValue, length, valueStride, valueHeads, out);
      touch(o + firstValue, length, valueStride, valueHeads, out);
      for (let piece = p0; piece < end; piece++) {
        const h = piece / pieces;
        const step = from + <usize>h;
        const valueOffset = from * valueRow + <usize>piece * pieceRow;
        const right = heads + <usize>piece * headBytes;
        packRows(queries, q + step * keyRow, length, keyStride, dKey, featureMap, scale);
        packRows(keys, k + step * keyRow, length, keyStride, dKey, featureMap, 1);
        packPanels(right + values, panel, COLUMNS, v + valueOffset, 4, valueStride, width, length);
        transpose(left, queries, keyBytes, length, dKey);
        transpose(keysAcross, keys, keyBytes, length, dKey);
        scores(p, left, keysAcross, length, dKey);
        let kept: f32 = 1;
        if (decay != 0) {
          const decayRow = decay + ((decayPerStep ? step : <usize>h) << 2);
          chunkDecays(s, fromStart, toEnd, decayRow, decayStride, length);
          kept = load<f32>(whole);
          maskDecayed(p, s, length);
          scaleSteps(left, fromStart, dKey, length);
          scaleRows(keys, toEnd, length, padded(dKey));
        } else {
          mask(p, length);
        }
        const skipped = t == 0 && initialState == 0 ? dKey : 0;
        outputs(out, valueBytes, left, right, panel, skipped, length, dKey, width);
        let factors: usize = 0;
        if (lastNormalizer != 0) {
          denominators(inverses, left, right + zAt, length, dKey, eps);
          moveNormalizer(right + zAt, kept, keys, keyBytes, length);
          factors = inverses;
        }
        unpackScaled(o + valueOffset, valueStride, out, valueBytes, factors, length, width);
        if (decay != 0) scalePanels(right, panel, dKey, width, whole, 0);
        update(right, panel, keys, keyBytes, length, dKey, width);
      }
    }
    for (let piece = p0; piece < end; piece++) {
      const index = <usize>(b * nHeads + piece / pieces);
      const right = heads + <usize>piece * headBytes;
      const state = lastState + index * stateBytes + <usize>(piece % pieces) * pieceRow;
      unpackPanels(state, valueRow, right, panel, dKey, width);
      if (lastNormalizer != 0 && piece % pieces == 0) memory.copy(lastNormalizer + index * keyRow, right + zAt, keyRow);
    }
  }
}
