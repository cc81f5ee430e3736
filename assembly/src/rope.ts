/**
 * Rotary position embedding (Su et al. 2021, arXiv:2104.09864): pair i of each head is turned by the angle
 * position * base^(-2 i / rotaryDim).
 *
 *   (y0, y1) = (x0 cos - x1 sin, x1 cos + x0 sin)
 *
 *   y, x       [batch, seqLen, nHeads, headDim]
 *   positions  [seqLen], int32; absent (0): offset, offset + 1, ...
 *   scratch    as many bytes as `<kernel>ScratchBytes` says
 *
 * Pairs are (i, i + rotaryDim / 2), or with `interleaved` (2 i, 2 i + 1). What lies beyond rotaryDim is copied.
 *
 * Angles are float64, and rounded only as cosines and sines: float32 angles are off by 2e-4 at position 4,000. From
 * one position to the next the cosines and sines are turned by one step, and made anew every 32: the error stays
 * below 1e-14, at a tenth of the time of a cosine and a sine each. One position's serve all heads and batches.
 */
import { loadTail, madd, nmadd, storeTail } from './simd';

/** Positions from one that is computed to the next that is. */
const ANCHOR = 32;

const signs: usize = memory.data<f32>([-1, 1, -1, 1], 16);

/** Frequencies, cosines and sines of the position, those of a step: float64. Then what the rotation reads, float32. */
function scratchBytes(rotaryDim: i32): f64 {
  return ceil<f64>(<f64>rotaryDim / 8) * (4 * (5 * 8 + 2 * 8));
}

export function ropeForwardScratchBytes(rotaryDim: i32): f64 {
  return scratchBytes(rotaryDim);
}

export function ropeBackwardScratchBytes(rotaryDim: i32): f64 {
  return scratchBytes(rotaryDim);
}

// prettier-ignore
export function ropeForward(
  y: usize, x: usize, positions: usize,
  batch: i32, seqLen: i32, nHeads: i32, headDim: i32, rotaryDim: i32,
  offset: i32, base: f64, interleaved: bool, scratch: usize,
): void {
  rotate(y, x, positions, batch, seqLen, nHeads, headDim, rotaryDim, offset, base, interleaved, scratch, 1);
}

/** The transpose of a rotation is the rotation back. */
// prettier-ignore
export function ropeBackward(
  dx: usize, dy: usize, positions: usize,
  batch: i32, seqLen: i32, nHeads: i32, headDim: i32, rotaryDim: i32,
  offset: i32, base: f64, interleaved: bool, scratch: usize,
): void {
  rotate(dx, dy, positions, batch, seqLen, nHeads, headDim, rotaryDim, offset, base, interleaved, scratch, -1);
}

// prettier-ignore
function rotate(
  y: usize, x: usize, positions: usize,
  batch: i32, seqLen: i32, nHeads: i32, headDim: i32, rotaryDim: i32,
  offset: i32, base: f64, interleaved: bool, scratch: usize, direction: f64,
): void {
  const pairs = rotaryDim >> 1;
  const array = paddedPairs(rotaryDim) << 3; // bytes of an array of float64
  const frequencies = scratch, cosines = scratch + array, sines = cosines + array;
  const stepCosines = sines + array, stepSines = stepCosines + array;
  const c = stepSines + array, s = c + array;
  memory.fill(scratch, 0, <usize>scratchBytes(rotaryDim));
  for (let i = 0; i < pairs; i++) {
    const frequency = direction * Math.pow(base, <f64>(-2 * i) / rotaryDim);
    store<f64>(frequencies + (<usize>i << 3), frequency);
    if (seqLen == 1) continue; // decoding: there is no step
    store<f64>(stepCosines + (<usize>i << 3), Math.cos(frequency));
    store<f64>(stepSines + (<usize>i << 3), Math.sin(frequency));
  }
  const head = (<usize>headDim) << 2, position = head * nHeads, sequence = position * seqLen;
  for (let t = 0; t < seqLen; t++) {
    if (positions) setAngles(cosines, sines, frequencies, pairs, <f64>load<i32>(positions + (<usize>t << 2)));
    else if (t % ANCHOR == 0) setAngles(cosines, sines, frequencies, pairs, <f64>offset + <f64>t);
    else advanceAngles(cosines, sines, stepCosines, stepSines, array);
    if (interleaved) spread(c, s, cosines, sines, array);
    else narrow(c, s, cosines, sines, array);
    for (let b = 0; b < batch; b++) {
      const start = <usize>b * sequence + <usize>t * position;
      for (let h = start; h < start + position; h += head) {
        if (interleaved) turnNeighbours(y + h, x + h, c, s, rotaryDim);
        else turnHalves(y + h, x + h, c, s, pairs);
        for (let i = rotaryDim; i < headDim; i += 4) {
          const at = h + (<usize>i << 2);
          storeTail(y + at, loadTail(x + at, headDim - i), headDim - i);
        }
      }
    }
  }
}

function paddedPairs(rotaryDim: i32): usize {
  return <usize>(((rotaryDim >> 1) + 3) & ~3);
}

function setAngles(cosines: usize, sines: usize, frequencies: usize, pairs: i32, position: f64): void {
  for (let i: usize = 0; i < (<usize>pairs) << 3; i += 8) {
    const angle = position * load<f64>(frequencies + i);
    store<f64>(cosines + i, Math.cos(angle));
    store<f64>(sines + i, Math.sin(angle));
  }
}

function advanceAngles(
  cosines: usize,
  sines: usize,
  stepCosines: usize,
  stepSines: usize,
  bytes: usize,
): void {
  for (let i: usize = 0; i < bytes; i += 16) {
    const c = v128.load(cosines + i),
      s = v128.load(sines + i);
    const dc = v128.load(stepCosines + i),
      ds = v128.load(stepSines + i);
    v128.store(cosines + i, f64x2.sub(f64x2.mul(c, dc), f64x2.mul(s, ds)));
    v128.store(sines + i, f64x2.add(f64x2.mul(s, dc), f64x2.mul(c, ds)));
  }
}

/** To float32: c0 c1 c2 c3, and s likewise. */
function narrow(c: usize, s: usize, cosines: usize, sines: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) {
    v128.store_lane<f64>(c + (i >> 1), f32x4.demote_f64x2_zero(v128.load(cosines + i)), 0);
    v128.store_lane<f64>(s + (i >> 1), f32x4.demote_f64x2_zero(v128.load(sines + i)), 0);
  }
}

/** To float32: c0 c0 c1 c1, and -s0 s0 -s1 s1. */
function spread(c: usize, s: usize, cosines: usize, sines: usize, bytes: usize): void {
  const alternate = v128.load(signs);
  for (let i: usize = 0; i < bytes; i += 16) {
    const cosine = f32x4.demote_f64x2_zero(v128.load(cosines + i));
    const sine = f32x4.demote_f64x2_zero(v128.load(sines + i));
    v128.store(c + i, i8x16.shuffle(cosine, cosine, 0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7));
    v128.store(
      s + i,
      f32x4.mul(i8x16.shuffle(sine, sine, 0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7), alternate),
    );
  }
}

function turnHalves(y: usize, x: usize, c: usize, s: usize, pairs: i32): void {
  const half = (<usize>pairs) << 2;
  for (; pairs >= 4; pairs -= 4, x += 16, y += 16, c += 16, s += 16) {
    const x0 = v128.load(x),
      x1 = v128.load(x + half),
      cosine = v128.load(c),
      sine = v128.load(s);
    v128.store(y, nmadd(x1, sine, f32x4.mul(x0, cosine)));
    v128.store(y + half, madd(x0, sine, f32x4.mul(x1, cosine)));
  }
  if (pairs > 0) {
    const x0 = loadTail(x, pairs),
      x1 = loadTail(x + half, pairs),
      cosine = v128.load(c),
      sine = v128.load(s);
    storeTail(y, nmadd(x1, sine, f32x4.mul(x0, cosine)), pairs);
    storeTail(y + half, madd(x0, sine, f32x4.mul(x1, cosine)), pairs);
  }
}

function turnNeighbours(y: usize, x: usize, c: usize, s: usize, size: i32): void {
  for (; size > 0; size -= 4, x += 16, y += 16, c += 16, s += 16) {
    const value = loadTail(x, size);
    const swapped = i8x16.shuffle(value, value, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
    storeTail(y, madd(swapped, v128.load(s), f32x4.mul(value, v128.load(c))), size);
  }
}
