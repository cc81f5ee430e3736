/** a * b + c, rounded twice in the `simd` binary and as the machine likes in `relaxed-simd` (FMA where it has one). */
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** c - a * b. */
@inline
export function nmadd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_nmadd(a, b, c);
  return f32x4.sub(c, f32x4.mul(a, b));
}

/** a * b + c in the lanes where `wanted` is all ones, and c in the others, whatever a and b hold there. */
@inline
export function maddWhere(a: v128, b: v128, c: v128, wanted: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return v128.bitselect(f32x4.relaxed_madd(a, b, c), c, wanted);
  return f32x4.add(v128.and(f32x4.mul(a, b), wanted), c);
}
