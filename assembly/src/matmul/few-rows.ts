/** Products with few rows, as in decoding: they read b as it lies, at the speed of memory. */
import { addScaledRow, dot } from '../matrix/rows';
import { madd, sum } from '../simd';

/** Runs of the n columns of y that can be computed alone. */
export function vectorUnits(n: i32, transposed: bool): i32 {
  return transposed ? max(n >> 2, 1) : (n + 3) >> 2;
}

/**
 * y += a op(b) for few rows of a, or y = bias + a op(b) if `starts`; some units of it. Pieces of b come from memory once
 * and serve all rows from the cache. bias: one for each column, or for each row if `byRow`, where there is one row only;
 * 0 without one.
 *
 *   y  [rows, n]      a  [rows, k]      b  [k, n], transposed [n, k]
 */
// prettier-ignore
export function addVectorProducts(
  y: usize, a: usize, b: usize, bias: usize, rows: i32, n: i32, k: i32, transposed: bool, starts: bool, byRow: bool,
  scratch: usize, first: i32, count: i32,
): void {
  const rowY = <usize>n << 2;
  const rowA = <usize>k << 2;
  const end = first + count;
  if (transposed) {
    // Rows a quarter of b apart are four long streams, which the machine fetches ahead; of four neighbours it reads
    // 14 GB/s instead of 33 from memory.
    const quarter = n >> 2;
    const rest = end >= quarter ? n - quarter * 4 : 0;
    const from = min(first, quarter);
    const own = min(end, quarter) - from;
    if (starts) {
      for (let q = 0; q < 4; q++) fill(y, bias, rows, rowY, q * quarter + from, own, byRow);
      fill(y, bias, rows, rowY, quarter * 4, rest, byRow);
    }
    for (let j = from; j < from + own; j++) {
      const to = y + (<usize>j << 2);
      const row = b + rowA * j;
      for (let i = 0; i < rows; i++) addFourDots(to + <usize>i * rowY, a + <usize>i * rowA, row, k, quarter, scratch);
    }
    for (let j = n - rest; j < n; j++) {
      for (let i = 0; i < rows; i++) {
        const at = y + <usize>i * rowY + (<usize>j << 2);
        store<f32>(at, load<f32>(at) + dot(a + <usize>i * rowA, b + rowA * j, k));
      }
    }
  } else {
    const from = first << 2;
    const width = min(n, end << 2) - from;
    if (starts) fill(y, bias, rows, rowY, from, width, byRow);
    y += <usize>from << 2;
    b += <usize>from << 2;
    let p = 0;
    for (; p + 8 <= k; p += 8) {
      for (let i = 0; i < rows; i++) addEightRows(y + <usize>i * rowY, a + <usize>i * rowA, b, width, rowY);
      a += 32;
      b += rowY * 8;
    }
    for (; p < k; p++) {
      for (let i = 0; i < rows; i++) addScaledRow(y + <usize>i * rowY, a + <usize>i * rowA, b, width);
      a += 4;
      b += rowY;
    }
  }
}

/** Columns of y become bias, or 0 without one. */
// prettier-ignore
function fill(y: usize, bias: usize, rows: i32, rowY: usize, from: i32, width: i32, byRow: bool): void {
  const at = <usize>from << 2;
  const bytes = <usize>width << 2;
  for (y += at; rows > 0; rows--, y += rowY) {
    if (bias == 0) memory.fill(y, 0, bytes);
    else if (byRow) for (let i: usize = 0; i < bytes; i += 4) store<f32>(y + i, load<f32>(bias));
    else memory.copy(y, bias + at, bytes);
  }
}

/**
 * y[j] += x . b[j] for four rows of b that are `apart` rows from each other: j = 0, apart, 2 apart, 3 apart.
 *
 * The sums go through memory after the loop: V8 spills in the loop if they are added up at once (see tile.ts).
 * Exported, so that it is not inlined into the loops of its caller, where V8 spills too: 1.6 times as fast.
 */
export function addFourDots(y: usize, x: usize, b: usize, k: i32, apart: i32, scratch: usize): void {
  const row = (<usize>k * apart) << 2;
  const rest = k & 7;
  let b1 = b + row;
  let b2 = b1 + row;
  let b3 = b2 + row;
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0);
  let t0 = f32x4.splat(0);
  let t1 = f32x4.splat(0);
  let t2 = f32x4.splat(0);
  let t3 = f32x4.splat(0);
  for (; k >= 8; k -= 8) {
    const u = v128.load(x);
    s0 = madd(u, v128.load(b), s0);
    s1 = madd(u, v128.load(b1), s1);
    s2 = madd(u, v128.load(b2), s2);
    s3 = madd(u, v128.load(b3), s3);
    const v = v128.load(x, 16);
    t0 = madd(v, v128.load(b, 16), t0);
    t1 = madd(v, v128.load(b1, 16), t1);
    t2 = madd(v, v128.load(b2, 16), t2);
    t3 = madd(v, v128.load(b3, 16), t3);
    x += 32;
    b += 32;
    b1 += 32;
    b2 += 32;
    b3 += 32;
  }
  v128.store(scratch, s0);
  v128.store(scratch, t0, 16);
  v128.store(scratch, s1, 32);
  v128.store(scratch, t1, 48);
  v128.store(scratch, s2, 64);
  v128.store(scratch, t2, 80);
  v128.store(scratch, s3, 96);
  v128.store(scratch, t3, 112);
  for (let j = 0; j < 4; j++, y += (<usize>apart) << 2, b += row, scratch += 32) {
    const both = f32x4.add(v128.load(scratch), v128.load(scratch, 16));
    store<f32>(y, load<f32>(y) + (sum(both) + dot(x, b, rest)));
  }
}

/** y += x[0] b[0] + ... + x[7] b[7], n columns of rows of b that are `row` bytes apart. */
function addEightRows(y: usize, x: usize, b: usize, n: i32, row: usize): void {
  const x0 = v128.load32_splat(x);
  const x1 = v128.load32_splat(x, 4);
  const x2 = v128.load32_splat(x, 8);
  const x3 = v128.load32_splat(x, 12);
  const x4 = v128.load32_splat(x, 16);
  const x5 = v128.load32_splat(x, 20);
  const x6 = v128.load32_splat(x, 24);
  const x7 = v128.load32_splat(x, 28);
  const half = row * 4;
  for (; n >= 4; n -= 4, y += 16, b += 16) {
    const b4 = b + half;
    let s = f32x4.mul(x0, v128.load(b));
    let t = f32x4.mul(x4, v128.load(b4));
    s = madd(x1, v128.load(b + row), s);
    t = madd(x5, v128.load(b4 + row), t);
    s = madd(x2, v128.load(b + 2 * row), s);
    t = madd(x6, v128.load(b4 + 2 * row), t);
    s = madd(x3, v128.load(b + 3 * row), s);
    t = madd(x7, v128.load(b4 + 3 * row), t);
    v128.store(y, f32x4.add(v128.load(y), f32x4.add(s, t)));
  }
  for (; n > 0; n--, y += 4, b += 4) {
    let s: f32 = 0;
    for (let p: usize = 0; p < 8; p++) s += load<f32>(x + (p << 2)) * load<f32>(b + p * row);
    store<f32>(y, load<f32>(y) + s);
  }
}
