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
 * For contexts longer than a model was trained on, `rule` changes the frequencies w, factor and length being those by
 * which the context is stretched and from which, and the cosines and sines are multiplied by `amplitude`:
 *
 *   LINEAR   w / factor
 *   LLAMA3   s w + (1 - s) w / factor, s = (turns - low) / (high - low) in [0, 1], turns = length w / (2 pi)
 *   YARN     the same, s falling from 1 to 0 between the pairs that turn high and low times in `length`, which are
 *            rounded to whole ones outwards with `whole` (Peng et al. 2023, arXiv:2309.00071)
 *   DYNAMIC  from position length on those of base (factor (position + 1) / length - factor + 1)^(d / (d - 2))
 *
 * Angles are float64, and rounded only as cosines and sines: float32 angles are off by 2e-4 at position 4,000. From
 * one position to the next the cosines and sines are turned by one step, and made anew every 32: the error stays
 * below 1e-14, at a tenth of the time of a cosine and a sine each. One position's serve all heads and batches.
 */
import { loadTail, madd, nmadd, storeTail } from './simd';

/** Positions from one that is computed to the next that is. */
const ANCHOR = 32;

/** Rules, by their numbers in packages/kernels. */
const LINEAR = 1,
  LLAMA3 = 2,
  YARN = 3,
  DYNAMIC = 4;

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
  batch: i32, seqLen: i32, nHeads: i32, headDim: i32, rotaryDim: i32, offset: i32, base: f64, interleaved: bool,
  rule: i32, factor: f64, length: f64, low: f64, high: f64, whole: bool, amplitude: f64, scratch: usize,
): void {
  // prettier-ignore
  rotate(
    y, x, positions, batch, seqLen, nHeads, headDim, rotaryDim, offset, base, interleaved,
    rule, factor, length, low, high, whole, amplitude, scratch, 1,
  );
}

/** The transpose of a rotation is the rotation back. */
// prettier-ignore
export function ropeBackward(
  dx: usize, dy: usize, positions: usize,
  batch: i32, seqLen: i32, nHeads: i32, headDim: i32, rotaryDim: i32, offset: i32, base: f64, interleaved: bool,
  rule: i32, factor: f64, length: f64, low: f64, high: f64, whole: bool, amplitude: f64, scratch: usize,
): void {
  // prettier-ignore
  rotate(
    dx, dy, positions, batch, seqLen, nHeads, headDim, rotaryDim, offset, base, interleaved,
    rule, factor, length, low, high, whole, amplitude, scratch, -1,
  );
}

// prettier-ignore
function rotate(
  y: usize, x: usize, positions: usize,
  batch: i32, seqLen: i32, nHeads: i32, headDim: i32, rotaryDim: i32, offset: i32, base: f64, interleaved: bool,
  rule: i32, factor: f64, length: f64, low: f64, high: f64, whole: bool, amplitude: f64, scratch: usize, direction: f64,
): void {
  const pairs = rotaryDim >> 1;
  if (amplitude == 0) amplitude = factor > 1 ? 1 + 0.1 * Math.log(factor) : 1; // as YARN has it
  const array = paddedPairs(rotaryDim) << 3; // bytes of an array of float64
  const frequencies = scratch, cosines = scratch + array, sines = cosines + array;
  const stepCosines = sines + array, stepSines = stepCosines + array;
  const c = stepSines + array, s = c + array;
  memory.fill(scratch, 0, <usize>scratchBytes(rotaryDim));
  setFrequencies(frequencies, rotaryDim, base, direction);
  if (rule != 0) scaleFrequencies(frequencies, rotaryDim, base, rule, factor, length, low, high, whole);
  // In decoding there is no step.
  for (let i = 0; i < pairs && seqLen > 1; i++) {
    const frequency = load<f64>(frequencies + (<usize>i << 3));
    store<f64>(stepCosines + (<usize>i << 3), Math.cos(frequency));
    store<f64>(stepSines + (<usize>i << 3), Math.sin(frequency));
  }
  const head = (<usize>headDim) << 2, position = head * nHeads, sequence = position * seqLen;
  let current = base;
  for (let t = 0; t < seqLen; t++) {
    const at = positions ? <f64>load<i32>(positions + (<usize>t << 2)) : <f64>offset + <f64>t;
    const ofPosition = rule == DYNAMIC && at >= length ? stretched(base, factor, length, at, rotaryDim) : base;
    if (ofPosition != current) setFrequencies(frequencies, rotaryDim, ofPosition, direction);
    current = ofPosition;
    if (positions || current != base || t % ANCHOR == 0) {
      setAngles(cosines, sines, frequencies, pairs, at, amplitude);
    } else advanceAngles(cosines, sines, stepCosines, stepSines, array);
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

/** base^(-2 i / rotaryDim) for every pair i, negative to turn back. */
function setFrequencies(frequencies: usize, rotaryDim: i32, base: f64, direction: f64): void {
  for (let i = 0; i < rotaryDim >> 1; i++) {
    store<f64>(frequencies + ((<usize>i) << 3), direction * Math.pow(base, <f64>(-2 * i) / rotaryDim));
  }
}

// prettier-ignore
function scaleFrequencies(
  frequencies: usize, rotaryDim: i32, base: f64,
  rule: i32, factor: f64, length: f64, low: f64, high: f64, whole: bool,
): void {
  if (rule == DYNAMIC) return; // changes them by position
  let first: f64 = 0, last: f64 = 0;
  if (rule == YARN) {
    first = pairThatTurns(high, length, rotaryDim, base);
    last = pairThatTurns(low, length, rotaryDim, base);
    if (whole) { first = Math.floor(first); last = Math.ceil(last); }
    first = Math.max(first, 0);
    last = Math.min(last, rotaryDim - 1);
    if (first == last) last += 0.001;
  }
  for (let i = 0; i < rotaryDim >> 1; i++) {
    const at = frequencies + (<usize>i << 3), w = load<f64>(at);
    let kept: f64 = 0;
    if (rule == LLAMA3) kept = ((length * Math.abs(w)) / (2 * Math.PI) - low) / (high - low);
    else if (rule == YARN) kept = 1 - (i - first) / (last - first);
    kept = Math.max(0, Math.min(1, kept));
    store<f64>(at, kept * w + ((1 - kept) * w) / factor);
  }
}

/** The pair, not always whole, that turns so often in `length` positions. */
function pairThatTurns(turns: f64, length: f64, rotaryDim: i32, base: f64): f64 {
  return (rotaryDim * Math.log(length / (turns * 2 * Math.PI))) / (2 * Math.log(base));
}

/** The base for position `at` of a context that grows beyond `length`. */
function stretched(base: f64, factor: f64, length: f64, at: f64, rotaryDim: i32): f64 {
  return base * Math.pow((factor * (at + 1)) / length - factor + 1, rotaryDim / (<f64>rotaryDim - 2));
}

// prettier-ignore
function setAngles(
  cosines: usize, sines: usize, frequencies: usize, pairs: i32, position: f64, amplitude: f64,
): void {
  for (let i: usize = 0; i < (<usize>pairs) << 3; i += 8) {
    const angle = position * load<f64>(frequencies + i);
    store<f64>(cosines + i, amplitude * Math.cos(angle));
    store<f64>(sines + i, amplitude * Math.sin(angle));
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
