/** Gradients of the log decays of a chunk, and of the step sizes. */
import { exp, loadTail, madd, sigmoid, softplus, storeTail } from '../simd';
import { differences, laneIndex, notAfter, paddedSteps, rawStep } from './decays';
import { ROWS } from './products';

/**
 * With E[i][j] = exp(s[i] - s[j]) for j <= i, and M[i][j] = g[i].X[j]:
 *
 *   S = E CB      T += E M      change[t] = sum_{i >= t > j} S[i][j] M[i][j]
 *
 * change[t] is the gradient of the log decay of step t. It is built up from sums over rows and columns in double
 * precision, whose large common part cancels exactly. M is overwritten by S.
 */
export function decayGradients(
  M: usize,
  T: usize,
  change: usize,
  CB: usize,
  s: usize,
  length: i32,
  ld: i32,
): void {
  const lanes = v128.load(laneIndex);
  memory.fill(change, 0, (<usize>paddedSteps(length)) << 3);
  for (let i = 0; i < length; i++) {
    const row = (<usize>i * ld) << 2;
    const si = v128.load64_splat(s + ((<usize>i) << 3));
    const index = i32x4.splat(i);
    const end = i - (i % ROWS) + ROWS;
    let low = f64x2.splat(0);
    let high = low;
    for (let j = 0; j < end; j += 4) {
      const at = row + ((<usize>j) << 2);
      const column = change + ((<usize>j) << 3);
      const wanted = notAfter(index, j, lanes);
      const decay = exp(v128.and(differences(si, s + ((<usize>j) << 3)), wanted));
      const S = v128.and(f32x4.mul(decay, v128.load(CB + at)), wanted);
      const m = v128.and(v128.load(M + at), wanted);
      v128.store(T + at, madd(decay, m, v128.load(T + at)));
      v128.store(M + at, S);
      const w = f32x4.mul(S, m);
      const wLow = f64x2.promote_low_f32x4(w);
      const wHigh = f64x2.promote_low_f32x4(v128.shuffle<f64>(w, w, 1, 1));
      low = f64x2.add(low, wLow);
      high = f64x2.add(high, wHigh);
      v128.store(column, f64x2.sub(v128.load(column), wLow));
      v128.store(column, f64x2.sub(v128.load(column, 16), wHigh), 16);
    }
    const total = f64x2.add(low, high);
    const at = change + ((<usize>i) << 3);
    store<f64>(at, load<f64>(at) + f64x2.extract_lane(total, 0) + f64x2.extract_lane(total, 1));
  }
  // So far row sums minus column sums; what is wanted are their sums from each step to the end.
  let later: f64 = 0;
  for (let t = length - 1; t >= 0; t--) {
    const at = change + ((<usize>t) << 3);
    later += load<f64>(at);
    store<f64>(at, later);
  }
}

/** change[t] += sum_{i >= t} toLater[i] + sum_{j < t} toState[j] + carried. */
export function addDecays(change: usize, toLater: usize, toState: usize, carried: f64, length: i32): void {
  let later: f64 = 0;
  for (let t = length - 1; t >= 0; t--) {
    const at = (<usize>t) << 3;
    later += load<f64>(toLater + at);
    store<f64>(change + at, load<f64>(change + at) + later);
  }
  for (let t = 0; t < length; t++) {
    const at = (<usize>t) << 3;
    store<f64>(change + at, load<f64>(change + at) + carried);
    carried += load<f64>(toState + at);
  }
}

/** ddt, of the step size in place, becomes that of dt: through the limits and softplus. sums are nHeads doubles. */
// prettier-ignore
export function stepGradients(
  ddt: usize, dDtBias: usize, sums: usize, dt: usize, dtBias: usize,
  rows: i32, nHeads: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32,
): void {
  const low = f32x4.splat(dtMin);
  const high = f32x4.splat(dtMax);
  memory.fill(sums, 0, <usize>nHeads << 3);
  for (let row = 0; row < rows; row++) {
    for (let head = 0; head < nHeads; head += 4) {
      const at = (<usize>row * nHeads + head) << 2;
      const rest = nHeads - head;
      const raw = rawStep(dt + at, dtBias == 0 ? 0 : dtBias + (<usize>head << 2), rest);
      const step = dtSoftplus ? softplus(raw) : raw;
      let gradient = loadTail(ddt + at, rest);
      if (dtSoftplus) gradient = f32x4.mul(gradient, sigmoid(raw));
      gradient = v128.and(gradient, v128.and(f32x4.ge(step, low), f32x4.le(step, high)));
      storeTail(ddt + at, gradient, rest);
    }
    for (let head: usize = 0; head < <usize>nHeads; head++) {
      const gradient = load<f32>(ddt + (((<usize>row * nHeads) + head) << 2));
      store<f64>(sums + (head << 3), load<f64>(sums + (head << 3)) + <f64>gradient);
    }
  }
  if (dDtBias == 0) return;
  for (let head: usize = 0; head < <usize>nHeads; head++) {
    store<f32>(dDtBias + (head << 2), <f32>load<f64>(sums + (head << 3)));
  }
}
