/** What the machine can do at most, through WASM: arithmetic without memory, and memory without arithmetic. */
import { madd, sum } from '../../assembly/src/simd';

/**
 * 12 independent accumulators of four lanes, `rounds` times eight madd each: 768 operations a round.
 * `scale` and `shift` come from the caller, so that nothing is known when compiling.
 */
export function multiplyAdd(rounds: i32, scale: f32, shift: f32): f32 {
  const a = f32x4.splat(scale);
  const b = f32x4.splat(shift);
  let x0 = f32x4.splat(0.0), x1 = f32x4.splat(0.1), x2 = f32x4.splat(0.2), x3 = f32x4.splat(0.3);
  let x4 = f32x4.splat(0.4), x5 = f32x4.splat(0.5), x6 = f32x4.splat(0.6), x7 = f32x4.splat(0.7);
  let x8 = f32x4.splat(0.8), x9 = f32x4.splat(0.9), x10 = f32x4.splat(1.0), x11 = f32x4.splat(1.1);
  for (let i = 0; i < rounds; i++) {
    for (let j = 0; j < 8; j++) {
      x0 = madd(x0, a, b); x1 = madd(x1, a, b); x2 = madd(x2, a, b); x3 = madd(x3, a, b);
      x4 = madd(x4, a, b); x5 = madd(x5, a, b); x6 = madd(x6, a, b); x7 = madd(x7, a, b);
      x8 = madd(x8, a, b); x9 = madd(x9, a, b); x10 = madd(x10, a, b); x11 = madd(x11, a, b);
    }
  }
  x0 = f32x4.add(f32x4.add(x0, x1), f32x4.add(x2, x3));
  x4 = f32x4.add(f32x4.add(x4, x5), f32x4.add(x6, x7));
  x8 = f32x4.add(f32x4.add(x8, x9), f32x4.add(x10, x11));
  return sum(f32x4.add(x0, f32x4.add(x4, x8)));
}

/** Sum of `bytes` bytes (a multiple of 128) at `source`: reads all, computes next to nothing. */
export function readAll(source: usize, bytes: usize): f32 {
  let x0 = f32x4.splat(0), x1 = f32x4.splat(0), x2 = f32x4.splat(0), x3 = f32x4.splat(0);
  for (const end = source + bytes; source < end; source += 128) {
    x0 = f32x4.add(x0, f32x4.add(v128.load(source), v128.load(source, 64)));
    x1 = f32x4.add(x1, f32x4.add(v128.load(source, 16), v128.load(source, 80)));
    x2 = f32x4.add(x2, f32x4.add(v128.load(source, 32), v128.load(source, 96)));
    x3 = f32x4.add(x3, f32x4.add(v128.load(source, 48), v128.load(source, 112)));
  }
  return sum(f32x4.add(f32x4.add(x0, x1), f32x4.add(x2, x3)));
}
