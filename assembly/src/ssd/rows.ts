/** Rows of channels and of states: gate, skip, and their gradients. */
import { loadTail, madd, sigmoid, silu, storeTail, sum } from '../simd';

/** y *= silu(z). */
export function gate(y: usize, z: usize, size: i32): void {
  const end = y + ((<usize>(size & ~3)) << 2);
  for (; y < end; y += 16, z += 16) v128.store(y, f32x4.mul(v128.load(y), silu(v128.load(z))));
  const rest = size & 3;
  storeTail(y, f32x4.mul(loadTail(y, rest), silu(loadTail(z, rest))), rest);
}

/** Y += D x on one row. */
export function addSkip(Y: usize, x: usize, D: usize, headDim: i32, skipByChannel: i32): void {
  for (let p = 0; p < headDim; p += 4) {
    const at = (<usize>p) << 2;
    const rest = headDim - p;
    const factor = skipByChannel ? loadTail(D + at, rest) : v128.load32_splat(D);
    v128.store(Y + at, madd(factor, loadTail(x + at, rest), v128.load(Y + at)));
  }
}

/** out[i][0..count-1] = factors[i] source[i][..], zeros up to a multiple of 8; zeros all if source is 0. */
// prettier-ignore
export function scaleRows(
  out: usize, outRow: usize, source: usize, sourceRow: usize, rows: i32, count: i32, factors: usize,
): void {
  for (let i = 0; i < rows; i++) {
    const factor = factors == 0 ? f32x4.splat(1) : v128.load32_splat(factors + (<usize>i << 2));
    for (let p = 0; p < <i32>(outRow >> 2); p += 4) {
      const at = <usize>p << 2;
      const value = source == 0 ? f32x4.splat(0) : loadTail(source + at, max(count - p, 0));
      v128.store(out + at, f32x4.mul(factor, value));
    }
    out += outRow;
    if (source != 0) source += sourceRow;
  }
}

/** Gate of one row, backwards: g = dy silu(z), padded, and dz = dy silu'(z), to be multiplied by what was gated. */
export function gateGradient(g: usize, dz: usize, dy: usize, z: usize, headDim: i32): void {
  const one = f32x4.splat(1);
  for (let p = 0; p < headDim; p += 4) {
    const at = (<usize>p) << 2;
    const rest = headDim - p;
    const input = loadTail(z + at, rest);
    const up = loadTail(dy + at, rest);
    const s = sigmoid(input);
    v128.store(g + at, f32x4.mul(up, f32x4.mul(input, s)));
    storeTail(dz + at, f32x4.mul(up, f32x4.mul(s, madd(input, f32x4.sub(one, s), one))), rest);
  }
}

/** y *= Y on one row. */
export function multiplyRow(y: usize, Y: usize, headDim: i32): void {
  for (let p = 0; p < headDim; p += 4) {
    const at = (<usize>p) << 2;
    const rest = headDim - p;
    storeTail(y + at, f32x4.mul(loadTail(y + at, rest), v128.load(Y + at)), rest);
  }
}

/** total += factor row; @returns factor C.row. row and total are padded, C is not. */
export function addScaledRowDot(total: usize, row: usize, C: usize, factor: f32, count: i32): f32 {
  const f = f32x4.splat(factor);
  let acc = f32x4.splat(0);
  const whole = count & ~3;
  for (let n = 0; n < whole; n += 4) {
    const at = (<usize>n) << 2;
    const value = f32x4.mul(f, v128.load(row + at));
    acc = madd(v128.load(C + at), value, acc);
    v128.store(total + at, f32x4.add(v128.load(total + at), value));
  }
  if (whole < count) {
    const at = (<usize>whole) << 2;
    const value = f32x4.mul(f, v128.load(row + at));
    acc = madd(loadTail(C + at, count - whole), value, acc);
    v128.store(total + at, f32x4.add(v128.load(total + at), value));
  }
  return sum(acc);
}

/** dx = step dX + D g and, if wanted, skipSum += g x, one row of one head. @returns x.dX */
// prettier-ignore
export function inputGradient(
  dx: usize, dX: usize, g: usize, x: usize, D: usize, skipSum: usize, step: f32, headDim: i32, skipByChannel: i32,
): f32 {
  const factor = f32x4.splat(step);
  let direct = f32x4.splat(0);
  for (let p = 0; p < headDim; p += 4) {
    const at = <usize>p << 2;
    const rest = headDim - p;
    const gradient = v128.load(dX + at);
    const input = loadTail(x + at, rest);
    const up = v128.load(g + at);
    direct = madd(input, gradient, direct);
    let value = f32x4.mul(factor, gradient);
    if (D != 0) value = madd(skipByChannel ? loadTail(D + at, rest) : v128.load32_splat(D), up, value);
    if (skipSum != 0) v128.store(skipSum + at, madd(up, input, v128.load(skipSum + at)));
    storeTail(dx + at, value, rest);
  }
  return sum(direct);
}
