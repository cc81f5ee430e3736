/** Products with few rows, as in decoding: they read b as it lies, at the speed of memory. */
import { addScaledRow, dot } from '../matrix/rows';
import { madd, sum } from '../simd';

/**
 * y += a op(b) for few rows of a. Pieces of b come from memory once and serve all rows from the cache.
 *
 *   y  [rows, n]      a  [rows, k]      b  [k, n], transposed [n, k]
 */
// prettier-ignore
export function addVectorProducts(
  y: usize, a: usize, b: usize, rows: i32, n: i32, k: i32, transposed: bool, scratch: usize,
): void {
  const rowY = <usize>n << 2;
  const rowA = <usize>k << 2;
  if (transposed) {
    // Rows a quarter of b apart are four long streams, which the machine fetches ahead; of four neighbours it reads
    // 14 GB/s instead of 33 from memory.
    const quarter = n >> 2;
    for (let j = 0; j < quarter; j++, y += 4, b += rowA) {
      for (let i = 0; i < rows; i++) addFourDots(y + <usize>i * rowY, a + <usize>i * rowA, b, k, quarter, scratch);
    }
    y += <usize>(quarter * 3) << 2;
    b += rowA * (quarter * 3);
    for (let j = quarter * 4; j < n; j++, y += 4, b += rowA) {
      for (let i = 0; i < rows; i++) {
        const at = y + <usize>i * rowY;
        store<f32>(at, load<f32>(at) + dot(a + <usize>i * rowA, b, k));
      }
    }
  } else {
    let p = 0;
    for (; p + 8 <= k; p += 8) {
      for (let i = 0; i < rows; i++) addEightRows(y + <usize>i * rowY, a + <usize>i * rowA, b, n);
      a += 32;
      b += rowY * 8;
    }
    for (; p < k; p++) {
      for (let i = 0; i < rows; i++) addScaledRow(y + <usize>i * rowY, a + <usize>i * rowA, b, n);
      a += 4;
      b += rowY;
    }
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

/** y += x[0] b[0] + ... + x[7] b[7], rows of b, [8, n]. */
function addEightRows(y: usize, x: usize, b: usize, n: i32): void {
  const row = (<usize>n) << 2;
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
