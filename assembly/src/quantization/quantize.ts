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
  for (; k > 0; k--, target += 2, source += 4) {
    const x = v128.load32_splat(source);
    store<u16>(target, <u16>i32x4.extract_lane(dtype == FLOAT16 ? toFloat16(x) : toBfloat16(x), 0));
  }
}

function storeFloat16(at: usize, x: f32): void {
  store<u16>(at, <u16>i32x4.extract_lane(toFloat16(f32x4.splat(x)), 0));
}

/** The largest magnitude of a block. */
function largestOf(source: usize): f32 {
  let most: f32 = 0;
  for (let i: usize = 0; i < 4 * BLOCK; i += 4) most = max(most, abs(load<f32>(source + i)));
  return most;
}

/** A block as llama.cpp's quantize_row_q8_0_ref makes it. */
function packInt8(target: usize, source: usize): void {
  const scale = largestOf(source) / 127;
  const inverse: f32 = scale == 0 ? 0 : 1 / scale;
  storeFloat16(target, scale);
  for (let i: usize = 0; i < <usize>BLOCK; i++) {
    const x = load<f32>(source + (i << 2)) * inverse;
    const whole = trunc(x);
    // Halves away from zero. x + 0.5 would be rounded itself.
    const away: f32 = abs(x - whole) >= 0.5 ? copysign<f32>(1, x) : 0;
    store<i8>(target + 2 + i, <i8>i32x4.extract_lane(i32x4.trunc_sat_f32x4_s(f32x4.splat(whole + away)), 0));
  }
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
  const inverse: f32 = scale == 0 ? 0 : 1 / scale;
  storeFloat16(target, scale);
  for (let i: usize = 0; i < <usize>BLOCK / 2; i++) {
    const low = nibble(load<f32>(source + (i << 2)) * inverse);
    const high = nibble(load<f32>(source + (i << 2), 2 * BLOCK) * inverse);
    store<u8>(target + 2 + i, <u8>(low | (high << 4)));
  }
}

function nibble(x: f32): u32 {
  return min<u32>(15, i32x4.extract_lane(i32x4.trunc_sat_f32x4_u(f32x4.splat(x + 8.5)), 0));
}
