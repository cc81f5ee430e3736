/**
 * Pointwise functions over flat arrays.
 *
 *   y, x, dx, dy, a, b  [size]
 *
 * Infinite x gives the limit, NaN gives NaN. Where there is an exp, one loop does whole vectors and the rest alike: loadTail and storeTail cost
 * nothing beside it (measured), and it is inlined once. Where there is none, the rest comes after the loop: twice as fast.
 *
 * Coefficients are least-maximum fits made for this file, of Q(t) e^(t^2/2) in u = 1 / (1 + 0.4 t), 0 <= t <= 14, Q being
 * the upper tail of the normal distribution.
 */
import {
  exp,
  expNegative,
  finite,
  finiteBelow,
  loadTail,
  log1pUnit,
  madd,
  nmadd,
  sigmoid,
  silu,
  softplus,
  storeTail,
  tanh,
} from './simd';

// prettier-ignore
const constants: usize = memory.data<f32>([
  0,              //  0
  1,              //  4
  0.5,            //  8
  0.4,            // 12
  -3.96009982e-2, // 16 the polynomial of the tail, highest power first
  0.200601369,    // 20
  -0.373683572,   // 24
  0.250973672,    // 28
  -1.23858759e-2, // 32
  0.158416569,    // 36
  0.155786619,    // 40
  0.159904182,    // 44
  -1.19874958e-5, // 48
  0.398942280,    // 52 1 / sqrt(2 pi)
  -1.59576912,    // 56 -2 sqrt(2 / pi)
  -7.13548163e-2, // 60 0.044715 of that
  -0.214064449,   // 64 and three times that
  10,             // 68 beyond, the tanh form of GELU is 0 or x
], 4);

function constant(offset: usize): v128 {
  return v128.load32_splat(constants + offset);
}

/** y = a + b. */
export function addForward(y: usize, a: usize, b: usize, size: i32): void {
  for (; size >= 4; size -= 4, y += 16, a += 16, b += 16) {
    v128.store(y, f32x4.add(v128.load(a), v128.load(b)));
  }
  storeTail(y, f32x4.add(loadTail(a, size), loadTail(b, size)), size);
}

/** y = a b. */
export function multiplyForward(y: usize, a: usize, b: usize, size: i32): void {
  for (; size >= 4; size -= 4, y += 16, a += 16, b += 16) {
    v128.store(y, f32x4.mul(v128.load(a), v128.load(b)));
  }
  storeTail(y, f32x4.mul(loadTail(a, size), loadTail(b, size)), size);
}

/** y = factor x + offset in some columns of rows of `width`; both pointers stand at their first column. */
// prettier-ignore
export function scaleForward(
  y: usize, x: usize,
  columns: i32, rows: i32, width: i32, factor: f32, offset: f32,
): void {
  const row = (<usize>width) << 2;
  const f = f32x4.splat(factor), shift = f32x4.splat(offset);
  for (; rows > 0; rows--, y += row, x += row) {
    let i: usize = 0, rest = columns;
    for (; rest >= 4; rest -= 4, i += 16) v128.store(y + i, f32x4.add(f32x4.mul(v128.load(x + i), f), shift));
    storeTail(y + i, f32x4.add(f32x4.mul(loadTail(x + i, rest), f), shift), rest);
  }
}

/** y = e^x; the helper itself, exported so that it can be checked argument by argument. */
export function expForward(y: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, y += 16, x += 16) {
    storeTail(y, exp(loadTail(x, size)), size);
  }
}

/** dx = dy e^x */
export function expBackward(dx: usize, dy: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, dx += 16, dy += 16, x += 16) {
    storeTail(dx, f32x4.mul(loadTail(dy, size), exp(loadTail(x, size))), size);
  }
}

/** y = -x */
export function negateForward(y: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, y += 16, x += 16) storeTail(y, f32x4.neg(loadTail(x, size)), size);
}

/** y = x sigmoid(x) (Hendrycks & Gimpel 2016, arXiv:1606.08415). */
export function siluForward(y: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, y += 16, x += 16) {
    storeTail(y, silu(loadTail(x, size)), size);
  }
}

/** dx = dy s (1 + x (1 - s)), s = sigmoid(x). */
export function siluBackward(dx: usize, dy: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, dx += 16, dy += 16, x += 16) {
    storeTail(dx, f32x4.mul(loadTail(dy, size), siluSlope(loadTail(x, size))), size);
  }
}

/** With e = e^-|x|, s (1 - s) is e / (1 + e)^2 on both sides, and does not cancel where s is near 1. */
function siluSlope(x: v128): v128 {
  // Garbage for NaN, but never 0.
  const e = expNegative(f32x4.neg(f32x4.abs(x)));
  const d = f32x4.div(constant(4), f32x4.add(constant(4), e));
  const ed = f32x4.mul(e, d);
  const s = v128.bitselect(d, ed, f32x4.gt(x, constant(0)));
  // Where e is 0, x may be infinite.
  return madd(v128.and(f32x4.mul(x, ed), f32x4.ne(e, constant(0))), d, s);
}

/** y = x P(x), P(x) = (1 + erf(x / sqrt(2))) / 2 (Hendrycks & Gimpel 2016, arXiv:1606.08415). */
export function geluForward(y: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, y += 16, x += 16) {
    storeTail(y, gelu(loadTail(x, size)), size);
  }
}

/** dx = dy (P(x) + x e^(-x^2/2) / sqrt(2 pi)). */
export function geluBackward(dx: usize, dy: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, dx += 16, dy += 16, x += 16) {
    storeTail(dx, f32x4.mul(loadTail(dy, size), geluSlope(loadTail(x, size))), size);
  }
}

/** max(x, 0) - |x| Q(|x|): nothing cancels, so that the left tail keeps its digits. */
function gelu(x: v128): v128 {
  const t = finite(f32x4.abs(x));
  return nmadd(t, normalTail(t, bell(t)), f32x4.pmax(x, constant(0)));
}

function geluSlope(x: v128): v128 {
  const t = f32x4.abs(x);
  const e = bell(t);
  const q = normalTail(t, e);
  const zero = constant(0);
  const p = v128.bitselect(f32x4.sub(constant(4), q), q, f32x4.gt(x, zero));
  // Where e is 0, x may be infinite.
  return madd(v128.and(f32x4.mul(x, constant(52)), f32x4.gt(e, zero)), e, p);
}

/** e^(-t^2/2). Inlined, as is normalTail: gelu took a quarter longer with calls. */
@inline
function bell(t: v128): v128 {
  return expNegative(f32x4.neg(f32x4.mul(f32x4.mul(t, constant(8)), t)));
}

/** Q(t) for t >= 0 and e = e^(-t^2/2). Powers side by side (Estrin): the chain of a Horner scheme took up to 1.5 times as long. */
@inline
function normalTail(t: v128, e: v128): v128 {
  const u = f32x4.div(constant(4), madd(t, constant(12), constant(4)));
  const u2 = f32x4.mul(u, u);
  const u4 = f32x4.mul(u2, u2);
  const high = madd(madd(constant(20), u, constant(24)), u2, madd(constant(28), u, constant(32)));
  const low = madd(madd(constant(36), u, constant(40)), u2, madd(constant(44), u, constant(48)));
  return f32x4.mul(madd(madd(constant(16), u4, high), u4, low), e);
}

/** y = x (1 + tanh(w)) / 2 = x / (1 + e^(-2 w)), w = sqrt(2 / pi) (x + 0.044715 x^3). */
export function geluTanhForward(y: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, y += 16, x += 16) {
    const value = loadTail(x, size);
    const e = exp(f32x4.mul(value, madd(f32x4.mul(value, value), constant(60), constant(56))));
    storeTail(y, f32x4.div(finiteBelow(value), f32x4.add(constant(4), e)), size);
  }
}

/** dx = dy (s + x s (1 - s) d(2 w)/dx), s = sigmoid(2 w). */
export function geluTanhBackward(dx: usize, dy: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, dx += 16, dy += 16, x += 16) {
    storeTail(dx, f32x4.mul(loadTail(dy, size), geluTanhSlope(loadTail(x, size))), size);
  }
}

function geluTanhSlope(x: v128): v128 {
  const limit = constant(68);
  x = f32x4.pmax(f32x4.pmin(x, limit), f32x4.neg(limit)); // keeps e below finite; the slope has long been 0 or 1
  const square = f32x4.mul(x, x);
  const e = exp(f32x4.mul(x, madd(square, constant(60), constant(56))));
  const s = f32x4.div(constant(4), f32x4.add(constant(4), e));
  const inner = f32x4.mul(x, madd(square, constant(64), constant(56)));
  return nmadd(inner, f32x4.mul(s, f32x4.mul(e, s)), s);
}

/** y = ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|). */
export function softplusForward(y: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, y += 16, x += 16) {
    const value = loadTail(x, size);
    const e = expNegative(f32x4.neg(f32x4.abs(value)));
    storeTail(y, f32x4.add(f32x4.pmax(value, constant(0)), log1pUnit(e)), size);
  }
}

/** dx = dy sigmoid(x). */
export function softplusBackward(dx: usize, dy: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, dx += 16, dy += 16, x += 16) {
    storeTail(dx, f32x4.mul(loadTail(dy, size), sigmoid(loadTail(x, size))), size);
  }
}

/** y = ln(sigmoid(x)) = min(x, 0) - ln(1 + e^-|x|). */
export function logSigmoidForward(y: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, y += 16, x += 16) {
    const value = loadTail(x, size);
    const e = expNegative(f32x4.neg(f32x4.abs(value)));
    storeTail(y, f32x4.sub(f32x4.pmin(value, constant(0)), log1pUnit(e)), size);
  }
}

/** dx = dy sigmoid(-x). */
export function logSigmoidBackward(dx: usize, dy: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, dx += 16, dy += 16, x += 16) {
    storeTail(dx, f32x4.mul(loadTail(dy, size), sigmoid(f32x4.neg(loadTail(x, size)))), size);
  }
}

/** y = 1 / (1 + e^-x). */
export function sigmoidForward(y: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, y += 16, x += 16) {
    storeTail(y, sigmoid(loadTail(x, size)), size);
  }
}

/** dx = dy s (1 - s), s = sigmoid(x). */
export function sigmoidBackward(dx: usize, dy: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, dx += 16, dy += 16, x += 16) {
    storeTail(dx, f32x4.mul(loadTail(dy, size), sigmoidSlope(loadTail(x, size))), size);
  }
}

/** s (1 - s) = e / (1 + e)^2 with e = e^-|x|: does not cancel where s is near 1. */
function sigmoidSlope(x: v128): v128 {
  const e = exp(f32x4.neg(f32x4.abs(x)));
  const d = f32x4.add(constant(4), e);
  return f32x4.div(e, f32x4.mul(d, d));
}

/** y = tanh(x). */
export function tanhForward(y: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, y += 16, x += 16) {
    storeTail(y, tanh(loadTail(x, size)), size);
  }
}

/** dx = dy (1 - tanh(x)^2), four times the slope of sigmoid at 2 x. */
export function tanhBackward(dx: usize, dy: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, dx += 16, dy += 16, x += 16) {
    const value = loadTail(x, size);
    const quarter = sigmoidSlope(f32x4.add(value, value));
    const slope = f32x4.add(f32x4.add(quarter, quarter), f32x4.add(quarter, quarter));
    storeTail(dx, f32x4.mul(loadTail(dy, size), slope), size);
  }
}

/** y = max(x, 0). */
export function reluForward(y: usize, x: usize, size: i32): void {
  const zero = constant(0);
  for (; size >= 4; size -= 4, y += 16, x += 16) v128.store(y, f32x4.pmax(v128.load(x), zero));
  storeTail(y, f32x4.pmax(loadTail(x, size), zero), size);
}

/** dx = dy where x > 0, else 0. */
export function reluBackward(dx: usize, dy: usize, x: usize, size: i32): void {
  const zero = constant(0);
  for (; size >= 4; size -= 4, dx += 16, dy += 16, x += 16) {
    v128.store(dx, v128.and(v128.load(dy), f32x4.gt(v128.load(x), zero)));
  }
  storeTail(dx, v128.and(loadTail(dy, size), f32x4.gt(loadTail(x, size), zero)), size);
}

/** y = max(x, 0)^2 (So et al. 2021, arXiv:2109.08668). */
export function relu2Forward(y: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, y += 16, x += 16) {
    const value = f32x4.pmax(loadTail(x, size), constant(0));
    storeTail(y, f32x4.mul(value, value), size);
  }
}

/** dx = 2 dy max(x, 0). */
export function relu2Backward(dx: usize, dy: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, dx += 16, dy += 16, x += 16) {
    const value = f32x4.pmax(loadTail(x, size), constant(0));
    storeTail(dx, f32x4.mul(loadTail(dy, size), f32x4.add(value, value)), size);
  }
}

/** y = elu(x) + 1: x + 1 above 0, e^x below. */
export function elu1Forward(y: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, y += 16, x += 16) {
    const value = loadTail(x, size);
    const e = expNegative(f32x4.pmin(value, constant(0)));
    storeTail(y, f32x4.add(e, f32x4.pmax(value, constant(0))), size);
  }
}

/** dx = dy min(e^x, 1). */
export function elu1Backward(dx: usize, dy: usize, x: usize, size: i32): void {
  for (; size > 0; size -= 4, dx += 16, dy += 16, x += 16) {
    const slope = expNegative(f32x4.pmin(loadTail(x, size), constant(0)));
    storeTail(dx, f32x4.mul(loadTail(dy, size), slope), size);
  }
}
