/** Listed rows of queries, keys and values into panels and lanes, and back. */
import { loadTail, storeTail, storeTransposed } from '../simd';
import { LANE_BYTES, LANES, ROWS, words } from './sizes';

/** Address of listed row n; beyond the list, of its last row: what comes of it is masked. */
function rowAt(source: usize, rowBytes: usize, list: usize, n: i32, count: i32): usize {
  return source + <usize>load<i32>(list + words(min(n, count - 1))) * rowBytes;
}

/** Columns in, lanes out: [width, 8] = factor times up to eight listed rows. */
// prettier-ignore
export function packLanes(
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
export function unpackLanes(
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
export function packKeyPanels(out: usize, source: usize, rowBytes: usize, list: usize, count: i32, width: i32): void {
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
export function packRows(
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

/** Adds packed rows to the listed ones. */
// prettier-ignore
export function addRows(
  target: usize, rowBytes: usize, list: usize, source: usize, sourceRow: usize, count: i32, width: i32,
): void {
  for (let n = 0; n < count; n++, source += sourceRow) {
    const row = rowAt(target, rowBytes, list, n, count);
    for (let w = 0; w < width; w += 4) {
      storeRow(row + words(w), v128.load(source + words(w)), width - w, true);
    }
  }
}
