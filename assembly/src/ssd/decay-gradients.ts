/** Gradients of the log decays of a chunk, and of the step sizes. */
import { exp, loadTail, madd, sigmoid, softplus, storeTail } from '../simd';
import { differences, laneIndex, notAfter, paddedSteps, rawStep } from './decays';
import { ROWS } from './products';

/**
 * With E[i][j] = exp(s[i] - s[j]) for j <= i, and M[i][j] = g[i].X[j]:
 *
 *   S = E CB      T += E M      change[t] = sum_{i >= t > j} S[i][j] M[i][j]
 *
 * change[t] is the gradient of the log decay of step t. Rows are taken from the last to the first, so that the sums of
 * the columns hold all i >= t when those of j < t are added up: nothing is taken away again, and what change[t] does not
 * depend on cannot reach it, not even as NaN. Sums are in double precision. M is overwritten by S.
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
  // Until row t is done, change[t] is the sum of column t over the rows done so far.
  for (let i = length - 1; i >= 0; i--) {
    const row = (<usize>i * ld) << 2;
    const si = v128.load64_splat(s + ((<usize>i) << 3));
    const index = i32x4.splat(i);
    const before = i32x4.splat(i - 1);
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
      const columns = f64x2.add(v128.load(column), f64x2.promote_low_f32x4(w));
      const columnsHigh = f64x2.add(
        v128.load(column, 16),
        f64x2.promote_low_f32x4(v128.shuffle<f64>(w, w, 1, 1)),
      );
      v128.store(column, columns);
      v128.store(column, columnsHigh, 16);
      const earlier = notAfter(before, j, lanes);
      low = f64x2.add(low, v128.and(columns, i64x2.extend_low_i32x4_s(earlier)));
      high = f64x2.add(high, v128.and(columnsHigh, i64x2.extend_high_i32x4_s(earlier)));
    }
    const total = f64x2.add(low, high);
    store<f64>(change + ((<usize>i) << 3), f64x2.extract_lane(total, 0) + f64x2.extract_lane(total, 1));
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

/**
 * ddt, of the step size in place, becomes that of dt: through the limits and softplus. Rows lie `stride` bytes apart;
 * sums, one double for each head, become those of the rows.
 */
// prettier-ignore
export function stepGradients(
  ddt: usize, sums: usize, dt: usize, dtBias: usize,
  rows: i32, heads: i32, stride: usize, dtSoftplus: i32, dtMin: f32, dtMax: f32,
): void {
  const low = f32x4.splat(dtMin);
  const high = f32x4.splat(dtMax);
  memory.fill(sums, 0, (<usize>heads) << 3);
  for (let row = 0; row < rows; row++, ddt += stride, dt += stride) {
    for (let head = 0; head < heads; head += 4) {
      const at = (<usize>head) << 2;
      const rest = heads - head;
      const raw = rawStep(dt + at, dtBias == 0 ? 0 : dtBias + at, rest);
      const step = dtSoftplus ? softplus(raw) : raw;
      let gradient = loadTail(ddt + at, rest);
      if (dtSoftplus) gradient = f32x4.mul(gradient, sigmoid(raw));
      gradient = v128.and(gradient, v128.and(f32x4.ge(step, low), f32x4.le(step, high)));
      storeTail(ddt + at, gradient, rest);
    }
    for (let head: usize = 0; head < <usize>heads; head++) {
      const sum = sums + (head << 3);
      store<f64>(sum, load<f64>(sum) + <f64>load<f32>(ddt + (head << 2)));
    }
  }
}
