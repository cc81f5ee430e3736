/**
 * Pointwise activations over a flat array.
 *
 *   y, x  [size]
 */
import { exp, loadTail, madd, nmadd, sigmoid, silu, storeTail } from './simd';

/** y = e^x; the helper itself, exported so that it can be checked argument by argument. */
export function expForward(y: usize, x: usize, size: i32): void {
  const end = x + ((<usize>size) << 2);
  for (; x + 16 <= end; x += 16, y += 16) v128.store(y, exp(v128.load(x)));
  const rest = <i32>((end - x) >> 2);
  storeTail(y, exp(loadTail(x, rest)), rest);
}

/** y = x sigmoid(x) (Hendrycks & Gimpel 2016, arXiv:1606.08415). */
export function siluForward(y: usize, x: usize, size: i32): void {
  const end = x + ((<usize>size) << 2);
  for (; x + 16 <= end; x += 16, y += 16) v128.store(y, silu(v128.load(x)));
  const rest = <i32>((end - x) >> 2);
  storeTail(y, silu(loadTail(x, rest)), rest);
}

/** dx = dy s (1 + x (1 - s)), s = sigmoid(x). */
export function siluBackward(dx: usize, dy: usize, x: usize, size: i32): void {
  const end = x + ((<usize>size) << 2);
  for (; x + 16 <= end; x += 16, dx += 16, dy += 16) {
    v128.store(dx, f32x4.mul(v128.load(dy), siluSlope(v128.load(x))));
  }
  const rest = <i32>((end - x) >> 2);
  storeTail(dx, f32x4.mul(loadTail(dy, rest), siluSlope(loadTail(x, rest))), rest);
}

function siluSlope(x: v128): v128 {
  const s = sigmoid(x);
  return madd(x, nmadd(s, s, s), s);
}
