/** Weights of each dtype to float32, exact. */
import { fromFloat16, fromWide, wideFactor } from '../simd/half';
import {
  BFLOAT16,
  BLOCK,
  FLOAT16,
  INT4_BLOCK,
  INT8,
  INT8_BLOCK,
  rowBytes,
  WIDE,
  withoutWide,
} from './formats';

/**
 * Rows of weights, of each the columns from <= j < from + steps, as rows of `steps` floats. `from` is a multiple of a
 * block; so is `steps`, unless they go to the end of the rows.
 */
// prettier-ignore
export function unpackRows(target: usize, source: usize, dtype: i32, k: i32, from: i32, steps: i32, rows: i32): void {
  const row = rowBytes(dtype, k);
  source += rowBytes(dtype, from);
  for (; rows > 0; rows--, source += row, target += <usize>steps << 2) unpackRow(target, source, dtype, steps);
}

function unpackRow(target: usize, source: usize, dtype: i32, steps: i32): void {
  const base = withoutWide(dtype);
  if (base <= BFLOAT16) unpackHalves(target, source, dtype, steps);
  else if (base == INT8) {
    for (; steps > 0; steps -= BLOCK, source += INT8_BLOCK, target += 4 * BLOCK)
      unpackInt8(target, source, dtype);
  } else {
    for (; steps > 0; steps -= BLOCK, source += INT4_BLOCK, target += 4 * BLOCK)
      unpackInt4(target, source, dtype);
  }
}

/** What stands in the low halves of lanes, whose high halves are 0. */
function fromHalves(x: v128, dtype: i32): v128 {
  const high = i32x4.shl(x, 16);
  if (dtype == BFLOAT16) return high;
  return dtype > WIDE ? f32x4.mul(fromWide(high), f32x4.splat(wideFactor())) : fromFloat16(x);
}

export function unpackHalves(target: usize, source: usize, dtype: i32, steps: i32): void {
  if (dtype != FLOAT16) {
    // Both by the same steps, without a branch in the loop.
    const wide = dtype > WIDE;
    const shift = wide ? 3 : 0;
    const mask = i32x4.splat(wide ? 0x8fffe000 : -1);
    const factor = f32x4.splat(wide ? wideFactor() : 1);
    for (; steps >= 8; steps -= 8, source += 16, target += 32) {
      const x = v128.load(source);
      const low = v128.and(i32x4.shr_s(i32x4.shl(i32x4.extend_low_i16x8_u(x), 16), shift), mask);
      const high = v128.and(i32x4.shr_s(i32x4.shl(i32x4.extend_high_i16x8_u(x), 16), shift), mask);
      v128.store(target, f32x4.mul(low, factor));
      v128.store(target, f32x4.mul(high, factor), 16);
    }
  }
  for (; steps >= 4; steps -= 4, source += 8, target += 16)
    v128.store(target, fromHalves(v128.load16x4_u(source), dtype));
  for (; steps > 0; steps--, source += 2, target += 4)
    v128.store_lane<f32>(target, fromHalves(i32x4.splat(load<u16>(source)), dtype), 0);
}

function unpackInt8(target: usize, source: usize, dtype: i32): void {
  const scale = fromHalves(i32x4.splat(load<u16>(source)), dtype);
  for (let i: usize = 0; i < <usize>BLOCK; i += 8) {
    const x = v128.load8x8_s(source + 2 + i);
    v128.store(target + (i << 2), f32x4.mul(scale, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(x))));
    v128.store(target + (i << 2), f32x4.mul(scale, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(x))), 16);
  }
}

function unpackInt4(target: usize, source: usize, dtype: i32): void {
  const scale = fromHalves(i32x4.splat(load<u16>(source)), dtype);
  const mask = i32x4.splat(15);
  const middle = i32x4.splat(8);
  for (let i: usize = 0; i < <usize>BLOCK / 2; i += 4) {
    const bytes = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(source + 2 + i)));
    const low = i32x4.sub(v128.and(bytes, mask), middle);
    const high = i32x4.sub(i32x4.shr_u(bytes, 4), middle);
    v128.store(target + (i << 2), f32x4.mul(scale, f32x4.convert_i32x4_s(low)));
    v128.store(target + (i << 2), f32x4.mul(scale, f32x4.convert_i32x4_s(high)), 2 * BLOCK);
  }
}
