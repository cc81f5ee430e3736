/** Step sizes and the decays of a chunk: s, the sums of dt A from the start of the chunk, in double precision. */
import { narrowed, roundUp } from '../matrix/rows';
import { COLUMNS } from '../matrix/tile';
import { exp, loadTail, softplus, storeTail } from '../simd';
import { ROWS } from './products';

export const laneIndex: usize = memory.data<i32>([0, 1, 2, 3], 16);

/** Steps of a chunk as the arrays over them are allocated: whole tiles both ways. */
export function paddedSteps(steps: i32): i32 {
  return roundUp(roundUp(steps, ROWS), COLUMNS);
}

/** dt before softplus and limits, four heads. */
export function rawStep(dt: usize, dtBias: usize, count: i32): v128 {
  const raw = loadTail(dt, count);
  return dtBias == 0 ? raw : f32x4.add(raw, loadTail(dtBias, count));
}

/** The step sizes that the recurrence uses, [rows, heads]; rows of dt lie `stride` bytes apart. */
// prettier-ignore
export function stepSizes(
  out: usize, dt: usize, dtBias: usize, rows: i32, heads: i32, stride: usize, dtSoftplus: i32, dtMin: f32, dtMax: f32,
): void {
  const low = f32x4.splat(dtMin);
  const high = f32x4.splat(dtMax);
  for (let row = 0; row < rows; row++, dt += stride, out += (<usize>heads) << 2) {
    for (let head = 0; head < heads; head += 4) {
      const at = (<usize>head) << 2;
      let step = rawStep(dt + at, dtBias == 0 ? 0 : dtBias + at, heads - head);
      if (dtSoftplus) step = softplus(step);
      storeTail(out + at, f32x4.pmin(f32x4.pmax(step, low), high), heads - head);
    }
  }
}

/** Every stride-th float: the step sizes of one head, in a row. */
export function gatherSteps(out: usize, step: usize, stride: usize, count: i32): void {
  for (let i = 0; i < count; i++) {
    store<f32>(out + ((<usize>i) << 2), load<f32>(step));
    step += stride;
  }
}

/** minuend - s[0..3], as floats. */
export function differences(minuend: v128, s: usize): v128 {
  return narrowed(f64x2.sub(minuend, v128.load(s)), f64x2.sub(minuend, v128.load(s, 16)));
}

/**
 * The decays of one head over a chunk: s in double precision, fromStart = exp(s), toEnd = exp(s_end - s), and whole,
 * eight times exp(s_end). The arrays are padded (paddedSteps) with the last s. rateStep: bytes from the A of one step to
 * that of the next, 0 if all have the same.
 */
export function chunkDecays(
  s: usize,
  fromStart: usize,
  toEnd: usize,
  whole: usize,
  step: usize,
  A: usize,
  rateStep: usize,
  length: i32,
): void {
  let total: f64 = 0;
  const padded = paddedSteps(length);
  for (let i = 0; i < padded; i++) {
    if (i < length) {
      total += <f64>load<f32>(step + ((<usize>i) << 2)) * <f64>load<f32>(A);
      A += rateStep;
    }
    store<f64>(s + ((<usize>i) << 3), total);
  }
  const end = f64x2.splat(total);
  for (let i = 0; i < padded; i += 4) {
    const from = s + ((<usize>i) << 3);
    v128.store(fromStart + ((<usize>i) << 2), exp(narrowed(v128.load(from), v128.load(from, 16))));
    v128.store(toEnd + ((<usize>i) << 2), exp(differences(end, from)));
  }
  const all = exp(f32x4.splat(<f32>total));
  v128.store(whole, all);
  v128.store(whole, all, 16);
}

/** Lanes j..j+3 that are at most i. */
export function notAfter(i: v128, j: i32, lanes: v128): v128 {
  return i32x4.le_s(i32x4.add(lanes, i32x4.splat(j)), i);
}

/**
 * S[i][j] = exp(s[i] - s[j]) CB[i][j] for j <= i, and 0 from there to the end of the tile; rows of ld floats. What
 * lies above the diagonal is masked out before exp, and after: CB is garbage there.
 */
export function decayed(S: usize, CB: usize, s: usize, length: i32, ld: i32): void {
  const lanes = v128.load(laneIndex);
  for (let i = 0; i < length; i++) {
    const row = (<usize>i * ld) << 2;
    const si = v128.load64_splat(s + ((<usize>i) << 3));
    const index = i32x4.splat(i);
    const end = i - (i % ROWS) + ROWS;
    for (let j = 0; j < end; j += 4) {
      const at = row + ((<usize>j) << 2);
      const wanted = notAfter(index, j, lanes);
      const decay = exp(v128.and(differences(si, s + ((<usize>j) << 3)), wanted));
      v128.store(S + at, v128.and(f32x4.mul(decay, v128.load(CB + at)), wanted));
    }
  }
}
