/** How weights of each dtype lie in memory: rows of k weights, one after the other. */

/** Numbers of the dtypes, as packages/kernels gives them. */
export const FLOAT16: i32 = 1;
export const BFLOAT16: i32 = 2;
export const INT8: i32 = 3;
export const INT4: i32 = 4;

/** Weights in a block of int8 and int4, which share a scale. */
export const BLOCK: i32 = 32;
export const INT8_BLOCK: i32 = 34; // bytes: the scale as float16, then the weights
export const INT4_BLOCK: i32 = 18;

/** Bytes of a row of k weights. */
export function rowBytes(dtype: i32, k: i32): usize {
  if (dtype <= BFLOAT16) return (<usize>k) << 1;
  return <usize>(k / BLOCK) * <usize>(dtype == INT8 ? INT8_BLOCK : INT4_BLOCK);
}
