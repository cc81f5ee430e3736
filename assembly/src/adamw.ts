/**
 * AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) and Adam (Kingma & Ba 2015, arXiv:1412.6980), in place.
 *
 *   g = gradient + l2 parameter
 *   m = beta1 m + (1 - beta1) g
 *   v = beta2 v + (1 - beta2) g^2
 *   parameter -= learningRate (decay parameter + m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps))
 *
 *   parameter, gradient, m, v  [size]
 *
 * AdamW has l2 = 0, Adam decay = 0. What depends on the step alone is float64.
 */
import { loadTail, madd, storeTail } from './simd';

// prettier-ignore
export function adamWStep(
  parameter: usize, m: usize, v: usize,
  gradient: usize,
  size: i32, step: i32, learningRate: f64, beta1: f64, beta2: f64, eps: f64, decay: f64, l2: f64,
): void {
  const correction1 = 1 - Math.pow(beta1, step), correction2 = 1 - Math.pow(beta2, step);
  const keep1 = f32x4.splat(<f32>beta1), take1 = f32x4.splat(<f32>(1 - beta1));
  const keep2 = f32x4.splat(<f32>beta2), take2 = f32x4.splat(<f32>(1 - beta2));
  const rate = f32x4.splat(<f32>(learningRate / correction1)), shrink = f32x4.splat(<f32>(learningRate * decay));
  const spread = f32x4.splat(<f32>(1 / sqrt<f64>(correction2))), floor = f32x4.splat(<f32>eps);
  const pull = f32x4.splat(<f32>l2);
  for (; size >= 4; size -= 4, parameter += 16, m += 16, v += 16, gradient += 16) {
    const p = v128.load(parameter);
    const g = madd(pull, p, v128.load(gradient));
    const first = madd(take1, g, f32x4.mul(keep1, v128.load(m)));
    const second = madd(f32x4.mul(take2, g), g, f32x4.mul(keep2, v128.load(v)));
    const update = f32x4.div(f32x4.mul(rate, first), madd(f32x4.sqrt(second), spread, floor));
    v128.store(m, first);
    v128.store(v, second);
    v128.store(parameter, f32x4.sub(p, madd(shrink, p, update)));
  }
  // The same again: loadTail within the loop takes four times as long, for so many values then leave the registers.
  const p = loadTail(parameter, size);
  const g = madd(pull, p, loadTail(gradient, size));
  const first = madd(take1, g, f32x4.mul(keep1, loadTail(m, size)));
  const second = madd(f32x4.mul(take2, g), g, f32x4.mul(keep2, loadTail(v, size)));
  const update = f32x4.div(f32x4.mul(rate, first), madd(f32x4.sqrt(second), spread, floor));
  storeTail(m, first, size);
  storeTail(v, second, size);
  storeTail(parameter, f32x4.sub(p, madd(shrink, p, update)), size);
}

/** sums[i], f64: of the squares of the i-th run of x [size], so many elements each. Units are runs. */
export function sumsOfSquares(sums: usize, x: usize, size: i32, run: i32, first: i32, count: i32): void {
  for (const end = first + count; first < end; first++) {
    const from = <usize>first * run;
    const rest = <i32>(<usize>size - from);
    store<f64>(sums + ((<usize>first) << 3), sumOfSquares(x + (from << 2), min(rest, run)));
  }
}

/** Sum of the squares of x [size], in float64: float32 squares overflow from 2e19 on. */
function sumOfSquares(x: usize, size: i32): f64 {
  let a = f64x2.splat(0),
    b = a,
    c = a,
    d = a;
  for (; size >= 8; size -= 8, x += 32) {
    const x0 = f64x2.promote_low_f32x4(v128.load64_zero(x)),
      x1 = f64x2.promote_low_f32x4(v128.load64_zero(x, 8));
    const x2 = f64x2.promote_low_f32x4(v128.load64_zero(x, 16)),
      x3 = f64x2.promote_low_f32x4(v128.load64_zero(x, 24));
    a = f64x2.add(a, f64x2.mul(x0, x0));
    b = f64x2.add(b, f64x2.mul(x1, x1));
    c = f64x2.add(c, f64x2.mul(x2, x2));
    d = f64x2.add(d, f64x2.mul(x3, x3));
  }
  const sums = f64x2.add(f64x2.add(a, b), f64x2.add(c, d));
  let total = f64x2.extract_lane(sums, 0) + f64x2.extract_lane(sums, 1);
  for (; size > 0; size--, x += 4) total += <f64>load<f32>(x) * <f64>load<f32>(x);
  return total;
}

/** x *= factor, which may be below the normal range of float32: then it acts in two parts, for a subnormal has fewer digits. */
export function scaleInPlace(x: usize, size: i32, factor: f64): void {
  if (abs<f64>(factor) < 1.2e-38 && factor != 0) {
    scaleInPlace(x, size, 5.421010862427522e-20); // 2^-64
    factor *= 18446744073709551616.0;
  }
  const factors = f32x4.splat(<f32>factor);
  for (; size >= 4; size -= 4, x += 16) v128.store(x, f32x4.mul(v128.load(x), factors));
  storeTail(x, f32x4.mul(loadTail(x, size), factors), size);
}
