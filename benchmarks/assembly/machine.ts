/** What the machine can do at most, through WASM: arithmetic without memory, and memory without arithmetic. */
import { madd, sum } from '../../assembly/src/simd';

/**
 * Independent accumulators of four lanes, one madd each a round. How many it takes to hide the latency, and how many
 * the compiler keeps in registers, differs: the best of the three is the peak. At `memory` lie the factor, the term
 * and the accumulators, of four floats each: nothing is known when compiling, and all is written back.
 */
export function multiplyAdd10(rounds: i32, memory: usize): void {
  const a = v128.load(memory);
  const b = v128.load(memory, 16);
  let x0 = v128.load(memory, 32), x1 = v128.load(memory, 48), x2 = v128.load(memory, 64), x3 = v128.load(memory, 80);
  let x4 = v128.load(memory, 96), x5 = v128.load(memory, 112), x6 = v128.load(memory, 128), x7 = v128.load(memory, 144);
  let x8 = v128.load(memory, 160), x9 = v128.load(memory, 176);
  for (let i = 0; i < rounds; i++) {
    x0 = madd(x0, a, b); x1 = madd(x1, a, b); x2 = madd(x2, a, b); x3 = madd(x3, a, b);
    x4 = madd(x4, a, b); x5 = madd(x5, a, b); x6 = madd(x6, a, b); x7 = madd(x7, a, b);
    x8 = madd(x8, a, b); x9 = madd(x9, a, b);
  }
  v128.store(memory, x0, 32); v128.store(memory, x1, 48); v128.store(memory, x2, 64); v128.store(memory, x3, 80);
  v128.store(memory, x4, 96); v128.store(memory, x5, 112); v128.store(memory, x6, 128); v128.store(memory, x7, 144);
  v128.store(memory, x8, 160); v128.store(memory, x9, 176);
}

export function multiplyAdd11(rounds: i32, memory: usize): void {
  const a = v128.load(memory);
  const b = v128.load(memory, 16);
  let x0 = v128.load(memory, 32), x1 = v128.load(memory, 48), x2 = v128.load(memory, 64), x3 = v128.load(memory, 80);
  let x4 = v128.load(memory, 96), x5 = v128.load(memory, 112), x6 = v128.load(memory, 128), x7 = v128.load(memory, 144);
  let x8 = v128.load(memory, 160), x9 = v128.load(memory, 176), x10 = v128.load(memory, 192);
  for (let i = 0; i < rounds; i++) {
    x0 = madd(x0, a, b); x1 = madd(x1, a, b); x2 = madd(x2, a, b); x3 = madd(x3, a, b);
    x4 = madd(x4, a, b); x5 = madd(x5, a, b); x6 = madd(x6, a, b); x7 = madd(x7, a, b);
    x8 = madd(x8, a, b); x9 = madd(x9, a, b); x10 = madd(x10, a, b);
  }
  v128.store(memory, x0, 32); v128.store(memory, x1, 48); v128.store(memory, x2, 64); v128.store(memory, x3, 80);
  v128.store(memory, x4, 96); v128.store(memory, x5, 112); v128.store(memory, x6, 128); v128.store(memory, x7, 144);
  v128.store(memory, x8, 160); v128.store(memory, x9, 176); v128.store(memory, x10, 192);
}

export function multiplyAdd12(rounds: i32, memory: usize): void {
  const a = v128.load(memory);
  const b = v128.load(memory, 16);
  let x0 = v128.load(memory, 32), x1 = v128.load(memory, 48), x2 = v128.load(memory, 64), x3 = v128.load(memory, 80);
  let x4 = v128.load(memory, 96), x5 = v128.load(memory, 112), x6 = v128.load(memory, 128), x7 = v128.load(memory, 144);
  let x8 = v128.load(memory, 160), x9 = v128.load(memory, 176), x10 = v128.load(memory, 192), x11 = v128.load(memory, 208);
  for (let i = 0; i < rounds; i++) {
    x0 = madd(x0, a, b); x1 = madd(x1, a, b); x2 = madd(x2, a, b); x3 = madd(x3, a, b);
    x4 = madd(x4, a, b); x5 = madd(x5, a, b); x6 = madd(x6, a, b); x7 = madd(x7, a, b);
    x8 = madd(x8, a, b); x9 = madd(x9, a, b); x10 = madd(x10, a, b); x11 = madd(x11, a, b);
  }
  v128.store(memory, x0, 32); v128.store(memory, x1, 48); v128.store(memory, x2, 64); v128.store(memory, x3, 80);
  v128.store(memory, x4, 96); v128.store(memory, x5, 112); v128.store(memory, x6, 128); v128.store(memory, x7, 144);
  v128.store(memory, x8, 160); v128.store(memory, x9, 176); v128.store(memory, x10, 192); v128.store(memory, x11, 208);
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
