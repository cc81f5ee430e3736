/**
 * Products of a few rows with quantised weights, as in decoding: each weight is read once and unpacked in registers, four
 * rows of weights at a time, so that what is read of a serves all four.
 *
 * float16 and bfloat16 are multiplied as floats. Rows of a are first laid out as registers of 16-bit weights find them:
 * of 8 neighbours the even ones, then the odd ones.
 *
 * int8 and int4 are multiplied as integers, 8 at a time: a is first rounded to 16 bits, with a scale for each block, which
 * changes it by at most 2^-16 of the largest magnitude in the block. Sums over a block are exact. This is twice as fast as
 * unpacking to floats.
 */
import { dot, roundUp } from '../matrix/rows';
import { largest, madd, sum } from '../simd';
import { fromWide, wideFactor } from '../simd/half';
import { BFLOAT16, BLOCK, INT4, INT4_BLOCK, INT8_BLOCK, rowBytes, WIDE, withoutWide } from './formats';
import { unpackHalves } from './unpack';

/** A block of a: 32 integers of 16 bits, their scale, and -8 times their sum. */
const INTEGERS: i32 = 80;
const SCALE: i32 = 64;
const OFFSET: i32 = 68;

/** Bytes of scratch memory before the rows of a: four sums of four lanes, and what is left of a row of weights. */
export const SUMS: i32 = 128;

/** What a may hold, besides 0, for no step to overflow or underflow: otherwise products go by blocks. */
const SMALLEST: f32 = reinterpret<f32>((127 - 60) << 23); // 2^-60
const LARGEST: f32 = reinterpret<f32>((127 + 24) << 23); // 2^24

/** Rows that are few. Those of floats are cheaper by blocks sooner: there they are unpacked once for all. */
export function areFew(m: i32, dtype: i32): bool {
  return m <= (withoutWide(dtype) <= BFLOAT16 ? 4 : 8);
}

export function fewRowsScratchBytes(m: i32, k: i32): f64 {
  return SUMS + <f64>min(m, 8) * (<f64>k + 32) * 4;
}

/** Lays out the rows of a. @returns false if the weights, or a, hold what only products by blocks are for */
export function prepare(target: usize, a: usize, m: i32, k: i32, dtype: i32): bool {
  const size = m * k;
  if (dtype != BFLOAT16) {
    if (dtype <= WIDE) return false;
    const most = largestMagnitude(a, size);
    if (most != 0 && !(most >= SMALLEST && most < LARGEST)) return false;
  }
  for (; m > 0; m--, a += <usize>k << 2, target += rowOf(k)) {
    if (withoutWide(dtype) <= BFLOAT16) layOutFloats(target, a, k, dtype == BFLOAT16 ? 1 : wideFactor());
    else layOutIntegers(target, a, k, dtype == INT4 + WIDE);
  }
  return true;
}

/** Bytes from one row of a to the next as it is laid out. */
function rowOf(k: i32): usize {
  return <usize>roundUp(k, 8) << 2;
}

/** NaN if one is. */
function largestMagnitude(x: usize, size: i32): f32 {
  let most = f32x4.splat(0);
  for (; size >= 4; size -= 4, x += 16) most = f32x4.max(most, f32x4.abs(v128.load(x)));
  for (; size > 0; size--, x += 4) most = f32x4.max(most, f32x4.abs(v128.load32_splat(x)));
  most = f32x4.max(most, v128.shuffle<i64>(most, most, 1, 0));
  return max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1));
}

/** What is left past the last 8 stays in order, as it is. */
function layOutFloats(target: usize, a: usize, k: i32, factor: f32): void {
  const f = f32x4.splat(factor);
  for (; k >= 8; k -= 8, a += 32, target += 32) {
    const low = f32x4.mul(f, v128.load(a));
    const high = f32x4.mul(f, v128.load(a, 16));
    v128.store(target, v128.shuffle<i32>(low, high, 0, 2, 4, 6));
    v128.store(target, v128.shuffle<i32>(low, high, 1, 3, 5, 7), 16);
  }
  memory.copy(target, a, <usize>k << 2);
}

function layOutIntegers(target: usize, a: usize, k: i32, nibbles: bool): void {
  for (; k > 0; k -= BLOCK, a += 4 * BLOCK, target += INTEGERS) {
    let most = f32x4.splat(0);
    for (let i: usize = 0; i < 128; i += 16) most = f32x4.max(most, f32x4.abs(v128.load(a + i)));
    const magnitude = largest(most);
    // Far below all others: 32767 / magnitude would be infinite.
    const empty = magnitude < reinterpret<f32>((127 - 100) << 23);
    const factor = f32x4.splat(empty ? 0 : 32767 / magnitude);
    let total = i32x4.splat(0);
    for (let i: usize = 0; i < 64; i += 16) {
      const low = f32x4.nearest(f32x4.mul(factor, v128.load(a + 2 * i)));
      const high = f32x4.nearest(f32x4.mul(factor, v128.load(a + 2 * i, 16)));
      const x = i16x8.narrow_i32x4_s(i32x4.trunc_sat_f32x4_s(low), i32x4.trunc_sat_f32x4_s(high));
      total = i32x4.add(total, i32x4.extadd_pairwise_i16x8_s(x));
      v128.store(target + i, x);
    }
    if (nibbles) {
      // As 16-bit numbers, bytes of two nibbles each hold weights 2 i, 16 + 2 i, 1 + 2 i and 17 + 2 i, from the lowest.
      separate(target);
      separate(target + 32);
      const odd = v128.load(target, 16);
      v128.store(target, v128.load(target, 32), 16);
      v128.store(target, odd, 32);
    }
    store<f32>(target, empty ? 0 : (magnitude / 32767) * wideFactor(), SCALE);
    total = i32x4.add(total, v128.shuffle<i64>(total, total, 1, 0));
    store<i32>(target, -8 * (i32x4.extract_lane(total, 0) + i32x4.extract_lane(total, 1)), OFFSET);
  }
}

/** Of 16 integers the even ones, then the odd ones. */
function separate(at: usize): void {
  const low = v128.load(at);
  const high = v128.load(at, 16);
  v128.store(at, v128.shuffle<i16>(low, high, 0, 2, 4, 6, 8, 10, 12, 14));
  v128.store(at, v128.shuffle<i16>(low, high, 1, 3, 5, 7, 9, 11, 13, 15), 16);
}

/**
 * n columns of y = a b^T + bias, of which rows of y are rowY bytes apart; `a` as laid out by `prepare`, and SUMS bytes
 * of scratch memory.
 */
// prettier-ignore
export function multiplyFewRows(
  y: usize, rowY: usize, a: usize, b: usize, bias: usize, m: i32, n: i32, k: i32, dtype: i32, sums: usize,
): void {
  const rowA = rowOf(k);
  const rowB = rowBytes(dtype, k);
  const quarter = n >> 2; // as in matmul/few-rows.ts: four long streams
  for (let j = 0; j < n - 3 * quarter; j++) {
    // What four do not divide is computed alone, four times.
    const streams = j < quarter ? 4 : 1;
    const row = b + rowB * (j < quarter ? j : j + 3 * quarter);
    const apart = j < quarter ? rowB * quarter : 0;
    for (let i = 0; i < m; i++) {
      const x = a + rowA * i;
      fourDots(sums, x, row, k, apart, dtype);
      for (let q = 0; q < streams; q++) {
        const column = <usize>(j < quarter ? j + q * quarter : j + 3 * quarter) << 2;
        let total = sum(v128.load(sums + (<usize>q << 4)));
        if (k & 7) total += rest(x, row + apart * q, k, dtype, sums + 64);
        store<f32>(y + rowY * i + column, bias ? total + load<f32>(bias + column) : total);
      }
    }
  }
}

// prettier-ignore
function fourDots(sums: usize, a: usize, b: usize, k: i32, apart: usize, dtype: i32): void {
  if (dtype == BFLOAT16) fourBfloat16(sums, a, b, k, apart);
  else if (dtype <= WIDE + BFLOAT16) fourFloat16(sums, a, b, k, apart);
  else if (dtype == WIDE + INT4) fourInt4(sums, a, b, k, apart);
  else fourInt8(sums, a, b, k, apart);
}

/** What is left past the last 8 of a row of 16-bit weights. */
function rest(a: usize, b: usize, k: i32, dtype: i32, unpacked: usize): f32 {
  const done = k & ~7;
  unpackHalves(unpacked, b + (<usize>done << 1), dtype, k & 7);
  return dot(a + (<usize>done << 2), unpacked, k & 7);
}

/** The sums of a block of int8 with x. */
@inline
function int8Dot(b: usize, x0: v128, x1: v128, x2: v128, x3: v128): v128 {
  let t = i32x4.dot_i16x8_s(v128.load8x8_s(b, 2), x0);
  t = i32x4.add(t, i32x4.dot_i16x8_s(v128.load8x8_s(b, 10), x1));
  t = i32x4.add(t, i32x4.dot_i16x8_s(v128.load8x8_s(b, 18), x2));
  return i32x4.add(t, i32x4.dot_i16x8_s(v128.load8x8_s(b, 26), x3));
}

/** The same of a block of int4, from 0 to 15; offset takes off the 8 that they are too large. */
@inline
function int4Dot(b: usize, x0: v128, x1: v128, x2: v128, x3: v128, offset: v128): v128 {
  const even = v128.load(b, 2);
  const odd = i16x8.shr_u(even, 8);
  const low = i16x8.splat(0x0f);
  const high = i16x8.splat(0xf0); // 16 times as large
  const t = i32x4.add(i32x4.dot_i16x8_s(v128.and(even, low), x0), i32x4.dot_i16x8_s(v128.and(odd, low), x2));
  const u = i32x4.add(i32x4.dot_i16x8_s(v128.and(even, high), x1), i32x4.dot_i16x8_s(v128.and(odd, high), x3));
  return i32x4.add(i32x4.add(t, offset), i32x4.shr_s(u, 4));
}

/** One row of a with four rows of weights that are `apart` bytes from each other: four sums of four lanes. */
function fourInt8(sums: usize, a: usize, b: usize, k: i32, apart: usize): void {
  let b1 = b + apart;
  let b2 = b1 + apart;
  let b3 = b2 + apart;
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  for (; k > 0; k -= BLOCK) {
    const x0 = v128.load(a);
    const x1 = v128.load(a, 16);
    const x2 = v128.load(a, 32);
    const x3 = v128.load(a, 48);
    const scale = v128.load32_splat(a, SCALE);
    s0 = madd(f32x4.convert_i32x4_s(int8Dot(b, x0, x1, x2, x3)), f32x4.mul(scale, fromWide(v128.load16_splat(b))), s0);
    s1 = madd(f32x4.convert_i32x4_s(int8Dot(b1, x0, x1, x2, x3)), f32x4.mul(scale, fromWide(v128.load16_splat(b1))), s1);
    s2 = madd(f32x4.convert_i32x4_s(int8Dot(b2, x0, x1, x2, x3)), f32x4.mul(scale, fromWide(v128.load16_splat(b2))), s2);
    s3 = madd(f32x4.convert_i32x4_s(int8Dot(b3, x0, x1, x2, x3)), f32x4.mul(scale, fromWide(v128.load16_splat(b3))), s3);
    a += INTEGERS;
    b += INT8_BLOCK;
    b1 += INT8_BLOCK;
    b2 += INT8_BLOCK;
    b3 += INT8_BLOCK;
  }
  v128.store(sums, s0);
  v128.store(sums, s1, 16);
  v128.store(sums, s2, 32);
  v128.store(sums, s3, 48);
}

function fourInt4(sums: usize, a: usize, b: usize, k: i32, apart: usize): void {
  let b1 = b + apart;
  let b2 = b1 + apart;
  let b3 = b2 + apart;
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  for (; k > 0; k -= BLOCK) {
    const x0 = v128.load(a);
    const x1 = v128.load(a, 16);
    const x2 = v128.load(a, 32);
    const x3 = v128.load(a, 48);
    const scale = v128.load32_splat(a, SCALE);
    const offset = v128.load32_zero(a, OFFSET);
    s0 = madd(f32x4.convert_i32x4_s(int4Dot(b, x0, x1, x2, x3, offset)), f32x4.mul(scale, fromWide(v128.load16_splat(b))), s0);
    s1 = madd(f32x4.convert_i32x4_s(int4Dot(b1, x0, x1, x2, x3, offset)), f32x4.mul(scale, fromWide(v128.load16_splat(b1))), s1);
    s2 = madd(f32x4.convert_i32x4_s(int4Dot(b2, x0, x1, x2, x3, offset)), f32x4.mul(scale, fromWide(v128.load16_splat(b2))), s2);
    s3 = madd(f32x4.convert_i32x4_s(int4Dot(b3, x0, x1, x2, x3, offset)), f32x4.mul(scale, fromWide(v128.load16_splat(b3))), s3);
    a += INTEGERS;
    b += INT4_BLOCK;
    b1 += INT4_BLOCK;
    b2 += INT4_BLOCK;
    b3 += INT4_BLOCK;
  }
  v128.store(sums, s0);
  v128.store(sums, s1, 16);
  v128.store(sums, s2, 32);
  v128.store(sums, s3, 48);
}

function fourFloat16(sums: usize, a: usize, b: usize, k: i32, apart: usize): void {
  let b1 = b + apart;
  let b2 = b1 + apart;
  let b3 = b2 + apart;
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let t0 = s0;
  let t1 = s0;
  let t2 = s0;
  let t3 = s0;
  let w: v128;
  for (; k >= 8; k -= 8) {
    const even = v128.load(a);
    const odd = v128.load(a, 16);
    w = v128.load(b);
    s0 = madd(even, fromWide(i32x4.shl(w, 16)), s0);
    t0 = madd(odd, fromWide(w), t0);
    w = v128.load(b1);
    s1 = madd(even, fromWide(i32x4.shl(w, 16)), s1);
    t1 = madd(odd, fromWide(w), t1);
    w = v128.load(b2);
    s2 = madd(even, fromWide(i32x4.shl(w, 16)), s2);
    t2 = madd(odd, fromWide(w), t2);
    w = v128.load(b3);
    s3 = madd(even, fromWide(i32x4.shl(w, 16)), s3);
    t3 = madd(odd, fromWide(w), t3);
    a += 32;
    b += 16;
    b1 += 16;
    b2 += 16;
    b3 += 16;
  }
  v128.store(sums, f32x4.add(s0, t0));
  v128.store(sums, f32x4.add(s1, t1), 16);
  v128.store(sums, f32x4.add(s2, t2), 32);
  v128.store(sums, f32x4.add(s3, t3), 48);
}

function fourBfloat16(sums: usize, a: usize, b: usize, k: i32, apart: usize): void {
  let b1 = b + apart;
  let b2 = b1 + apart;
  let b3 = b2 + apart;
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let t0 = s0;
  let t1 = s0;
  let t2 = s0;
  let t3 = s0;
  const mask = i32x4.splat(0xffff0000);
  let w: v128;
  for (; k >= 8; k -= 8) {
    const even = v128.load(a);
    const odd = v128.load(a, 16);
    w = v128.load(b);
    s0 = madd(even, i32x4.shl(w, 16), s0);
    t0 = madd(odd, v128.and(w, mask), t0);
    w = v128.load(b1);
    s1 = madd(even, i32x4.shl(w, 16), s1);
    t1 = madd(odd, v128.and(w, mask), t1);
    w = v128.load(b2);
    s2 = madd(even, i32x4.shl(w, 16), s2);
    t2 = madd(odd, v128.and(w, mask), t2);
    w = v128.load(b3);
    s3 = madd(even, i32x4.shl(w, 16), s3);
    t3 = madd(odd, v128.and(w, mask), t3);
    a += 32;
    b += 16;
    b1 += 16;
    b2 += 16;
    b3 += 16;
  }
  v128.store(sums, f32x4.add(s0, t0));
  v128.store(sums, f32x4.add(s1, t1), 16);
  v128.store(sums, f32x4.add(s2, t2), 32);
  v128.store(sums, f32x4.add(s3, t3), 48);
}
