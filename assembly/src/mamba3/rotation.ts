/** Angles, and rows of B and C turned by them. */
import { cosinesAndSines, loadTail, madd, nmadd, storeTail, tanh, toRadians } from '../simd';
import { copyRow } from '../matrix/rows';
import { Mamba3Call } from './call';

/** Quarter turns of an angle of 1. */
const QUARTERS: f64 = 0.6366197723675814;

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

/** The angles before a sequence, in quarter turns; zeros if `initial` is 0. */
export function startAngles(c: Mamba3Call, initial: usize): void {
  for (let s: usize = 0; s < c.angleRow; s += 4) {
    const isThere = initial != 0 && s < <usize>c.nAngles * 4;
    store<f64>(c.angle + s * 2, isThere ? <f64>load<f32>(initial + s) * QUARTERS : 0);
  }
}

/** The angles as the caller has them. */
export function storeAngles(c: Mamba3Call, out: usize): void {
  for (let s: usize = 0; s < <usize>c.nAngles * 4; s += 4) {
    store<f32>(out + s, <f32>toRadians(load<f64>(c.angle + s * 2)));
  }
}

/** The cosines and sines of the angles of so many steps from the start of the arrays, and the angles after them. */
export function headAngles(c: Mamba3Call, count: i32): void {
  for (let t: usize = 0; t < <usize>count; t++) {
    const at = t * c.angleRow;
    advanceAngles(c, c.turns + at, load<f32>(c.step + (t << 2)), c.cosines + at, c.sines + at);
  }
}

/** The angles after a step, and their cosines and sines. A turn of 1 is pi. */
export function advanceAngles(c: Mamba3Call, turns: usize, step: f32, cosines: usize, sines: usize): void {
  const factor = f64x2.splat(2 * <f64>step);
  for (let s: usize = 0; s < c.angleRow; s += 16) {
    const at = c.angle + s * 2;
    const turn = v128.load(turns + s);
    const low = f64x2.mul(factor, f64x2.promote_low_f32x4(turn));
    const high = f64x2.mul(factor, f64x2.promote_low_f32x4(v128.shuffle<f64>(turn, turn, 1, 1)));
    v128.store(at, f64x2.add(v128.load(at), low));
    v128.store(at, f64x2.add(v128.load(at, 16), high), 16);
  }
  cosinesAndSines(cosines, sines, c.angle, <i32>(c.angleRow >> 2));
}

/** out = row + bias, turned; bias may be 0. Rows of out are whole vectors. */
export function turnRow(
  c: Mamba3Call,
  out: usize,
  row: usize,
  bias: usize,
  cosines: usize,
  sines: usize,
): void {
  if (c.half) turnHalves(c, out, row, bias, cosines, sines);
  else turnNeighbours(c, out, row, bias, cosines, sines);
}

function turnNeighbours(
  c: Mamba3Call,
  out: usize,
  row: usize,
  bias: usize,
  cosines: usize,
  sines: usize,
): void {
  const alternate = v128.load(signs);
  const whole = (<usize>(c.nAngles & ~1)) << 3; // bytes of planes that fill vectors
  for (let at: usize = 0; at < whole; at += 16) {
    let x = v128.load(row + at);
    if (bias != 0) x = f32x4.add(x, v128.load(bias + at));
    const swapped = v128.shuffle<f32>(x, x, 1, 0, 3, 2);
    const sine = v128.xor(doubled(sines + (at >> 1)), alternate);
    v128.store(out + at, madd(swapped, sine, f32x4.mul(x, doubled(cosines + (at >> 1)))));
  }
  addBias(out + whole, row + whole, bias == 0 ? 0 : bias + whole, c.dState - <i32>(whole >> 2));
  if (c.nAngles & 1) turnOne(out + whole, out + whole + 4, cosines + (whole >> 1), sines + (whole >> 1));
}

function turnHalves(c: Mamba3Call, out: usize, row: usize, bias: usize, cosines: usize, sines: usize): void {
  const half = (<usize>(c.dState / 2)) << 2;
  const whole = (<usize>(c.nAngles & ~3)) << 2;
  for (let at: usize = 0; at < whole; at += 16) {
    let a = v128.load(row + at);
    let b = v128.load(row + half + at);
    if (bias != 0) {
      a = f32x4.add(a, v128.load(bias + at));
      b = f32x4.add(b, v128.load(bias + half + at));
    }
    const cosine = v128.load(cosines + at);
    const sine = v128.load(sines + at);
    v128.store(out + at, nmadd(b, sine, f32x4.mul(a, cosine)));
    v128.store(out + half + at, madd(a, sine, f32x4.mul(b, cosine)));
  }
  const rest = <i32>((half - whole) >> 2);
  const low = bias == 0 ? 0 : bias + whole;
  const high = bias == 0 ? 0 : bias + half + whole;
  addBias(out + whole, row + whole, low, rest);
  addBias(out + half + whole, row + half + whole, high, rest);
  for (let at = whole; at < (<usize>c.nAngles) << 2; at += 4) {
    turnOne(out + at, out + half + at, cosines + at, sines + at);
  }
}

/** Turns one plane in place. */
function turnOne(a: usize, b: usize, cosines: usize, sines: usize): void {
  const cosine = load<f32>(cosines);
  const sine = load<f32>(sines);
  const x = load<f32>(a);
  const y = load<f32>(b);
  store<f32>(a, x * cosine - y * sine);
  store<f32>(b, x * sine + y * cosine);
}

/** Two numbers, each twice. */
// prettier-ignore
function doubled(at: usize): v128 {
  const pair = v128.load64_zero(at);
  return v128.shuffle<f32>(pair, pair, 0, 0, 1, 1);
}

function addBias(out: usize, row: usize, bias: usize, size: i32): void {
  if (bias == 0) {
    copyRow(out, row, size);
    return;
  }
  for (; size >= 4; size -= 4, out += 16, row += 16, bias += 16) {
    v128.store(out, f32x4.add(v128.load(row), v128.load(bias)));
  }
  storeTail(out, f32x4.add(loadTail(row, size), loadTail(bias, size)), size);
}

/**
 * Turns the gradient d of a turned row back, in place; adds to `slopes`, [nAngles], the gradients of the angles: of plane
 * (a, b), db a - da b.
 */
// prettier-ignore
export function turnBack(
  c: Mamba3Call, slopes: usize, d: usize, row: usize, cosines: usize, sines: usize,
): void {
  if (c.half) turnHalvesBack(c, slopes, d, row, cosines, sines);
  else turnNeighboursBack(c, slopes, d, row, cosines, sines);
}

// prettier-ignore
function turnNeighboursBack(
  c: Mamba3Call, slopes: usize, d: usize, row: usize, cosines: usize, sines: usize,
): void {
  const alternate = v128.load(signs);
  const whole = (<usize>(c.nAngles & ~1)) << 3;
  for (let at: usize = 0; at < whole; at += 16) {
    const half = at >> 1;
    const x = v128.load(d + at);
    const own = v128.load(row + at);
    const w = f32x4.mul(x, v128.shuffle<f32>(own, own, 1, 0, 3, 2)); // da b, db a
    const slope = f32x4.sub(v128.shuffle<f32>(w, w, 1, 3, 1, 3), v128.shuffle<f32>(w, w, 0, 2, 0, 2));
    v128.store_lane<f64>(slopes + half, f32x4.add(slope, v128.load64_zero(slopes + half)), 0);
    const sine = v128.xor(doubled(sines + half), alternate);
    const swapped = v128.shuffle<f32>(x, x, 1, 0, 3, 2);
    v128.store(d + at, nmadd(swapped, sine, f32x4.mul(x, doubled(cosines + half))));
  }
  if (c.nAngles & 1) {
    const half = whole >> 1;
    turnOneBack(slopes + half, d + whole, d + whole + 4, row + whole, row + whole + 4, cosines + half, sines + half);
  }
}

// prettier-ignore
function turnHalvesBack(
  c: Mamba3Call, slopes: usize, d: usize, row: usize, cosines: usize, sines: usize,
): void {
  const half = (<usize>(c.dState / 2)) << 2;
  const whole = (<usize>(c.nAngles & ~3)) << 2;
  for (let at: usize = 0; at < whole; at += 16) {
    const cosine = v128.load(cosines + at);
    const sine = v128.load(sines + at);
    const da = v128.load(d + at);
    const db = v128.load(d + half + at);
    const slope = nmadd(da, v128.load(row + half + at), v128.load(slopes + at));
    v128.store(slopes + at, madd(db, v128.load(row + at), slope));
    v128.store(d + at, madd(db, sine, f32x4.mul(da, cosine)));
    v128.store(d + half + at, nmadd(da, sine, f32x4.mul(db, cosine)));
  }
  for (let at = whole; at < (<usize>c.nAngles) << 2; at += 4) {
    turnOneBack(slopes + at, d + at, d + half + at, row + at, row + half + at, cosines + at, sines + at);
  }
}

/** The gradient (da, db) of one plane (a, b), in place. */
// prettier-ignore
function turnOneBack(
  slope: usize, da: usize, db: usize, a: usize, b: usize, cosines: usize, sines: usize,
): void {
  const cosine = load<f32>(cosines);
  const sine = load<f32>(sines);
  const x = load<f32>(da);
  const y = load<f32>(db);
  store<f32>(slope, load<f32>(slope) + (y * load<f32>(a) - x * load<f32>(b)));
  store<f32>(da, x * cosine + y * sine);
  store<f32>(db, y * cosine - x * sine);
}
