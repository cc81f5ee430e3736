/** float32 to weights of each dtype. */
import { toBfloat16, toFloat16 } from '../simd/half';
import { BFLOAT16, BLOCK, FLOAT16, INT4_BLOCK, INT8, INT8_BLOCK } from './formats';

/** Makes a row of k weights. */
export function packRow(target: usize, source: usize, dtype: i32, k: i32): void {
  if (dtype <= BFLOAT16) packHalves(target, source, dtype, k);
  else if (dtype == INT8) {
    for (; k > 0; k -= BLOCK, target += INT8_BLOCK, source += 4 * BLOCK) packInt8(target, source);
  } else {
    for (; k > 0; k -= BLOCK, target += INT4_BLOCK, source += 4 * BLOCK) packInt4(target, source);
  }
}

function packHalves(target: usize, source: usize, dtype: i32, k: i32): void {
  for (; k >= 4; k -= 4, target += 8, source += 16) {
    const halves = toHalves(v128.load(source), dtype);
    v128.store_lane<u64>(target, i16x8.narrow_i32x4_u(halves, halves), 0);
  }
  for (; k > 0; k--, target += 2, source += 4) {
    store<u16>(target, <u16>i32x4.extract_lane(toHalves(v128.load32_splat(source), dtype), 0));
  }
}

function toHalves(x: v128, dtype: i32): v128 {
  return dtype == FLOAT16 ? toFloat16(x) : toBfloat16(x);
}

function storeFloat16(at: usize, x: f32): void {
  store<u16>(at, <u16>i32x4.extract_lane(toFloat16(f32x4.splat(x)), 0));
}

/** The largest magnitude of a block; NaN if one is. */
function largestOf(source: usize): f32 {
  let most = f32x4.splat(0);
  for (let i: usize = 0; i < 4 * BLOCK; i += 16) most = f32x4.max(most, f32x4.abs(v128.load(source + i)));
  most = f32x4.max(most, v128.shuffle<i64>(most, most, 1, 0));
  return max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1));
}

/** A block as llama.cpp's quantize_row_q8_0_ref makes it. */
function packInt8(target: usize, source: usize): void {
  const scale = largestOf(source) / 127;
  const inverse = f32x4.splat(scale == 0 ? 0 : 1 / scale);
  storeFloat16(target, scale);
  for (let i: usize = 0; i < <usize>BLOCK; i += 16) {
    const from = source + (i << 2);
    const low = i16x8.narrow_i32x4_s(rounded(from, inverse), rounded(from + 16, inverse));
    const high = i16x8.narrow_i32x4_s(rounded(from + 32, inverse), rounded(from + 48, inverse));
    v128.store(target + i, i8x16.narrow_i16x8_s(low, high), 2);
  }
}

/** Four numbers times a factor as integers, halves away from zero. x + 0.5 would be rounded itself. */
function rounded(source: usize, factor: v128): v128 {
  const x = f32x4.mul(factor, v128.load(source));
  const whole = f32x4.trunc(x);
  const one = v128.or(v128.and(x, i32x4.splat(<i32>0x80000000)), f32x4.splat(1));
  const isAway = f32x4.ge(f32x4.abs(f32x4.sub(x, whole)), f32x4.splat(0.5));
  return i32x4.trunc_sat_f32x4_s(f32x4.add(whole, v128.and(one, isAway)));
}

/** A block as llama.cpp's quantize_row_q4_0_ref makes it. */
function packInt4(target: usize, source: usize): void {
  const most = largestOf(source);
  let extreme = most; // NaN if one is
  for (let i: usize = 4 * BLOCK; i > 0; i -= 4) {
    const x = load<f32>(source + i - 4);
    if (x != 0 && abs(x) == most) extreme = x; // the first one stays
  }
  const scale = extreme / -8;
  const inverse = f32x4.splat(scale == 0 ? 0 : 1 / scale);
  storeFloat16(target, scale);
  const low = i16x8.narrow_i32x4_s(nibbles(source, inverse), nibbles(source + 16, inverse));
  const high = i16x8.narrow_i32x4_s(nibbles(source + 32, inverse), nibbles(source + 48, inverse));
  v128.store(target, i8x16.narrow_i16x8_u(low, high), 2);
}

/** Four numbers times a factor as q of the first half of a block, and those of the second half 16 times as large. */
function nibbles(source: usize, factor: v128): v128 {
  const middle = f32x4.splat(8.5);
  const most = i32x4.splat(15);
  const low = i32x4.trunc_sat_f32x4_u(f32x4.add(f32x4.mul(factor, v128.load(source)), middle));
  const high = i32x4.trunc_sat_f32x4_u(f32x4.add(f32x4.mul(factor, v128.load(source, 64)), middle));
  return v128.or(i32x4.min_u(low, most), i32x4.shl(i32x4.min_u(high, most), 4));
}
