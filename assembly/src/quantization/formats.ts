/** How weights of each dtype lie in memory: rows of k weights, one after the other. */

/** Numbers of the dtypes, as packages/kernels gives them. */
export const FLOAT16: i32 = 1;
export const BFLOAT16: i32 = 2;
export const INT8: i32 = 3;
export const INT4: i32 = 4;

/**
 * Added to the number of a dtype whose float16, weights or scales, are wide: where all of them are below 128, exponents
 * are 10 larger, which leaves room for what was subnormal to be normalised. So they become float32 by a shift.
 */
export const WIDE: i32 = 4;
const WIDE_BITS: i32 = 10 << 10;
const WIDE_END: i32 = 0x5800; // 128

/** Weights in a block of int8 and int4, which share a scale. */
export const BLOCK: i32 = 32;
export const INT8_BLOCK: i32 = 34; // bytes: the scale as float16, then the weights
export const INT4_BLOCK: i32 = 18;

export function withoutWide(dtype: i32): i32 {
  return dtype > WIDE ? dtype - WIDE : dtype;
}

/** Bytes of a row of k weights. */
export function rowBytes(dtype: i32, k: i32): usize {
  dtype = withoutWide(dtype);
  if (dtype <= BFLOAT16) return (<usize>k) << 1;
  return <usize>(k / BLOCK) * <usize>(dtype == INT8 ? INT8_BLOCK : INT4_BLOCK);
}

/** Makes `count` float16 wide, `stride` bytes apart. @returns false, with nothing changed, if one is too large for that */
export function widen(x: usize, count: f64, stride: usize): bool {
  let at = x;
  for (let i = count; i > 0; i--, at += stride) if ((load<u16>(at) & 0x7fff) >= WIDE_END) return false;
  for (let i = count; i > 0; i--, x += stride) {
    const half = <i32>load<u16>(x);
    const magnitude = half & 0x7fff;
    let wide = half + WIDE_BITS;
    if (magnitude < 0x400) {
      const shift = clz(magnitude) - 21;
      wide = magnitude == 0 ? half : (half & 0x8000) + ((10 - shift) << 10) + (magnitude << shift);
    }
    store<u16>(x, <u16>wide);
  }
  return true;
}

/** Whether `count` float16 are finite, `stride` bytes apart. */
export function areFiniteHalves(x: usize, count: f64, stride: usize): bool {
  for (; count > 0; count--, x += stride) if ((load<u16>(x) & 0x7fff) >= 0x7c00) return false;
  return true;
}
