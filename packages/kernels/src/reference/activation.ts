/**
 * Functions of one number, and sums and products of two tensors, element by element.
 *
 *   x, y, a, b  any shape, all alike
 *
 * GELU: Hendrycks & Gimpel 2016, arXiv:1606.08415. SiLU: Elfwing et al. 2017, arXiv:1702.03118. elu + 1: Katharopoulos
 * et al. 2020, arXiv:2006.16236.
 */
import type { Array64 } from './array64.js';

interface Input {
  x: Array64;
}

const map = ({ shape, data }: Array64, f: (x: number) => number): Array64 => ({ shape, data: data.map(f) });

/** `y = a + b` */
export function add({ a, b }: { a: Array64; b: Array64 }): Array64 {
  return { shape: a.shape, data: a.data.map((value, i) => value + b.data[i]) };
}

/** `y = a b` */
export function multiply({ a, b }: { a: Array64; b: Array64 }): Array64 {
  return { shape: a.shape, data: a.data.map((value, i) => value * b.data[i]) };
}

/** `y = e^x` */
export const exp = ({ x }: Input): Array64 => map(x, Math.exp);

/** `y = -x` */
export const negate = ({ x }: Input): Array64 => map(x, (value) => -value);

/** The lowest finite number for -Infinity, which times 0 is 0: the limit of `x e^x`. */
const finiteBelow = (x: number) => Math.max(x, -Number.MAX_VALUE);

/** `y = x / (1 + e^-x)` */
export const silu = ({ x }: Input): Array64 => map(x, (value) => finiteBelow(value) / (1 + Math.exp(-value)));

/** `y = x (1 + erf(x / sqrt(2))) / 2`, or the form with tanh */
export function gelu({ x, approximate = 'none' }: Input & { approximate?: 'none' | 'tanh' }): Array64 {
  if (approximate === 'tanh') {
    const scale = Math.sqrt(2 / Math.PI);
    // (1 + tanh(w)) / 2 = 1 / (1 + e^(-2 w)), which does not cancel
    return map(
      x,
      (value) => finiteBelow(value) / (1 + Math.exp(-2 * scale * (value + 0.044715 * value ** 3))),
    );
  }
  return map(x, (value) => finiteBelow(value) * normalDistribution(value));
}

/** `P(x) = (1 + erf(x / sqrt(2))) / 2`: its power series near 0, its continued fraction in the tails. */
function normalDistribution(x: number): number {
  const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  const t = Math.abs(x);
  if (t < 3) {
    // x + x^3 / 3 + x^5 / (3 5) + x^7 / (3 5 7) + ...
    let term = x;
    let sum = x;
    for (let n = 3; Math.abs(term) > 1e-18 * Math.abs(sum); n += 2) {
      term *= (x * x) / n;
      sum += term;
    }
    return 0.5 + density * sum;
  }
  // 1 / (t + 1 / (t + 2 / (t + 3 / (t + ...))))
  let fraction = t;
  for (let n = 100; n >= 1; n--) fraction = t + n / fraction;
  const tail = density / fraction;
  return x < 0 ? tail : 1 - tail;
}

/** `y = ln(1 + e^x)` */
export const softplus = ({ x }: Input): Array64 =>
  map(x, (value) => Math.max(value, 0) + Math.log1p(Math.exp(-Math.abs(value))));

/** `y = ln(1 / (1 + e^-x))` */
export const logSigmoid = ({ x }: Input): Array64 =>
  map(x, (value) => Math.min(value, 0) - Math.log1p(Math.exp(-Math.abs(value))));

/** `y = 1 / (1 + e^-x)` */
export const sigmoid = ({ x }: Input): Array64 => map(x, (value) => 1 / (1 + Math.exp(-value)));

/** `y = tanh(x)` */
export const tanh = ({ x }: Input): Array64 => map(x, Math.tanh);

/** `y = max(x, 0)` */
export const relu = ({ x }: Input): Array64 => map(x, (value) => Math.max(value, 0));

/** `y = max(x, 0)^2` */
export const relu2 = ({ x }: Input): Array64 => map(x, (value) => Math.max(value, 0) ** 2);

/** `y = factor x + offset`, part by part of the last axis where there are `sizes`. */
export function scale({
  x,
  factor,
  sizes = [x.shape.at(-1) ?? 1],
  offset = 0,
}: Input & { factor: number | readonly number[]; sizes?: readonly number[]; offset?: number }): Array64 {
  const factors = sizes.flatMap((size, i) =>
    Array<number>(size).fill(typeof factor === 'number' ? factor : factor[i]),
  );
  return { shape: x.shape, data: x.data.map((value, i) => factors[i % factors.length] * value + offset) };
}

/** `y = x + 1` above 0, `e^x` below */
export const elu1 = ({ x }: Input): Array64 => map(x, (value) => (value > 0 ? value + 1 : Math.exp(value)));
