/**
 * Stochastic gradient descent with momentum (Polyak 1964, doi:10.1016/0041-5553(64)90137-5), in place.
 *
 *   g = gradient + decay parameter
 *   velocity = momentum velocity + g
 *   parameter -= learningRate velocity
 *
 *   parameter, velocity, gradient  [size]
 *
 * velocity may be absent (0): then it is g, as with momentum 0.
 */
import { loadTail, madd, nmadd, storeTail } from './simd';

// prettier-ignore
export function sgdStep(
  parameter: usize, velocity: usize,
  gradient: usize,
  size: i32, learningRate: f64, momentum: f64, decay: f64,
): void {
  const rate = f32x4.splat(<f32>learningRate), keep = f32x4.splat(<f32>momentum), pull = f32x4.splat(<f32>decay);
  if (!velocity) {
    for (; size > 0; size -= 4, parameter += 16, gradient += 16) {
      const p = loadTail(parameter, size);
      storeTail(parameter, nmadd(rate, madd(pull, p, loadTail(gradient, size)), p), size);
    }
    return;
  }
  for (; size > 0; size -= 4, parameter += 16, velocity += 16, gradient += 16) {
    const p = loadTail(parameter, size);
    const g = madd(pull, p, loadTail(gradient, size));
    const next = madd(keep, loadTail(velocity, size), g);
    storeTail(velocity, next, size);
    storeTail(parameter, nmadd(rate, next, p), size);
  }
}
