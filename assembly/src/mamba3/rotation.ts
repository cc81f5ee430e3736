/** Angles, and rows of B and C turned by them. */
import { cosinesAndSines, loadTail, madd, nmadd, reduced, storeTail, tanh } from '../simd';
import { Mamba3Call } from './call';

const signs: usize = memory.data<u32>([0x80000000, 0, 0x80000000, 0], 16);

/** tanh of the angles of a head for `count` steps from `token` on, a step of the batch; rows in whole vectors. */
export function headTurns(c: Mamba3Call, out: usize, token: usize, head: i32, count: i32): void {
  const nAngles = c.nAngles;
  let from = c.angles + token * c.angleStep + (c.angleHeads == 1 ? 0 : <usize>(head * nAngles) * 4);
  for (; count > 0; count--, from += c.angleStep, out += c.angleRow) {
    for (let s = 0; s < nAngles; s += 4) {
      const at = (<usize>s) << 2;
      v128.store(out + at, tanh(loadTail(from + at, nAngles - s)));
    }
  }
}

/** The angles before a sequence, as doubles. */
export function startAngles(c: Mamba3Call, initial: usize): void {
  for (let s: usize = 0; s < c.angleRow; s += 4) {
    const isThere = initial != 0 && s < <usize>c.nAngles * 4;
    store<f64>(c.angle + s * 2, isThere ? <f64>load<f32>(initial + s) : 0);
  }
}

/** The angles after a step, in [-pi, pi], and their cosines and sines. */
export function advanceAngles(c: Mamba3Call, turns: usize, step: f32, cosines: usize, sines: usize): void {
  const factor = f64x2.splat(Math.PI * <f64>step);
  for (let s: usize = 0; s < c.angleRow; s += 16) {
    const at = c.angle + s * 2;
    const turn = v128.load(turns + s);
    const low = f64x2.mul(factor, f64x2.promote_low_f32x4(turn));
    const high = f64x2.mul(factor, f64x2.promote_low_f32x4(v128.shuffle<f64>(turn, turn, 1, 1)));
    v128.store(at, reduced(f64x2.add(v128.load(at), low)));
    v128.store(at, reduced(f64x2.add(v128.load(at, 16), high)), 16);
    cosinesAndSines(cosines + s, sines + s, at);
  }
}

/** The angles as the caller has them. */
export function storeAngles(c: Mamba3Call, out: usize): void {
  for (let s: usize = 0; s < <usize>c.nAngles * 4; s += 4)
    store<f32>(out + s, <f32>load<f64>(c.angle + s * 2));
}

/** out = row + bias, turned; bias may be 0. */
export function turnRow(
  c: Mamba3Call,
  out: usize,
  row: usize,
  bias: usize,
  cosines: usize,
  sines: usize,
): void {
  const dState = c.dState;
  addBias(out, row, bias, dState);
  if (c.half) {
    const half = (<usize>(dState / 2)) << 2;
    for (let s = 0; s < c.nAngles; s += 4) {
      const at = (<usize>s) << 2;
      const rest = c.nAngles - s;
      const cosine = v128.load(cosines + at);
      const sine = v128.load(sines + at);
      const a = loadTail(out + at, rest);
      const b = loadTail(out + half + at, rest);
      storeTail(out + at, nmadd(b, sine, f32x4.mul(a, cosine)), rest);
      storeTail(out + half + at, madd(a, sine, f32x4.mul(b, cosine)), rest);
    }
    return;
  }
  const alternate = v128.load(signs);
  for (let s = 0; s < c.nAngles; s += 2) {
    const at = (<usize>s) << 3;
    const rest = (c.nAngles - s) << 1;
    const x = loadTail(out + at, rest);
    const swapped = v128.shuffle<f32>(x, x, 1, 0, 3, 2);
    const sine = v128.xor(doubled(sines + (at >> 1)), alternate);
    storeTail(out + at, madd(swapped, sine, f32x4.mul(x, doubled(cosines + (at >> 1)))), rest);
  }
}

/** Two numbers, each twice. */
// prettier-ignore
function doubled(at: usize): v128 {
  const pair = v128.load64_zero(at);
  return v128.shuffle<f32>(pair, pair, 0, 0, 1, 1);
}

function addBias(out: usize, row: usize, bias: usize, size: i32): void {
  if (bias == 0) {
    memory.copy(out, row, (<usize>size) << 2);
    return;
  }
  for (; size > 0; size -= 4, out += 16, row += 16, bias += 16) {
    storeTail(out, f32x4.add(loadTail(row, size), loadTail(bias, size)), size);
  }
}

/**
 * Turns the gradient of a turned row back, in place; adds to `slopes`, [nAngles], the gradients of the angles:
 * of plane (a, b), db a - da b.
 */
export function turnBack(
  c: Mamba3Call,
  slopes: usize,
  d: usize,
  row: usize,
  cosines: usize,
  sines: usize,
): void {
  if (c.half) {
    const half = (<usize>(c.dState / 2)) << 2;
    for (let s = 0; s < c.nAngles; s += 4) {
      const at = (<usize>s) << 2;
      const rest = c.nAngles - s;
      const cosine = v128.load(cosines + at);
      const sine = v128.load(sines + at);
      const da = loadTail(d + at, rest);
      const db = loadTail(d + half + at, rest);
      const slope = nmadd(da, loadTail(row + half + at, rest), v128.load(slopes + at));
      v128.store(slopes + at, madd(db, loadTail(row + at, rest), slope));
      storeTail(d + at, madd(db, sine, f32x4.mul(da, cosine)), rest);
      storeTail(d + half + at, nmadd(da, sine, f32x4.mul(db, cosine)), rest);
    }
    return;
  }
  const alternate = v128.load(signs);
  for (let s = 0; s < c.nAngles; s += 2) {
    const at = (<usize>s) << 3;
    const rest = (c.nAngles - s) << 1;
    const x = loadTail(d + at, rest);
    const own = loadTail(row + at, rest);
    const w = f32x4.mul(x, v128.shuffle<f32>(own, own, 1, 0, 3, 2)); // da b, db a
    const slope = f32x4.sub(v128.shuffle<f32>(w, w, 1, 3, 1, 3), v128.shuffle<f32>(w, w, 0, 2, 0, 2));
    const sum = slopes + (at >> 1);
    v128.store_lane<f64>(sum, f32x4.add(slope, v128.load64_zero(sum)), 0);
    const sine = v128.xor(doubled(sines + (at >> 1)), alternate);
    const swapped = v128.shuffle<f32>(x, x, 1, 0, 3, 2);
    storeTail(d + at, nmadd(swapped, sine, f32x4.mul(x, doubled(cosines + (at >> 1)))), rest);
  }
}
