/** What a row of a chunk gives to another: decays, weights, and their gradients. */
import { exp, madd } from '../simd';
import { differences, laneIndex, notAfter, paddedSteps } from '../ssd/decays';
import { ROWS } from '../ssd/products';

/**
 * S[i][j] = exp(s[i] - s[j]) W[i][j] CB[i][j] for the rows j of i's step and of those before it, and 0 from there to the
 * end of the tile; W is `own` within a step and `weight` before it. What is not wanted is masked out before exp, and
 * after: CB is garbage there.
 */
// prettier-ignore
export function weighted(
  S: usize, CB: usize, s: usize, own: usize, weight: usize, rows: i32, ranks: i32, ld: i32,
): void {
  const lanes = v128.load(laneIndex);
  for (let i = 0; i < rows; i++) {
    const row = (<usize>i * ld) << 2;
    const si = v128.load64_splat(s + ((<usize>i) << 3));
    const first = i - (i % ranks); // of the rows of this step
    const last = i32x4.splat(first + ranks - 1);
    const before = i32x4.splat(first - 1);
    const end = endOfTile(i, first + ranks);
    for (let j = 0; j < end; j += 4) {
      const at = row + ((<usize>j) << 2);
      const wanted = notAfter(last, j, lanes);
      const decay = exp(v128.and(differences(si, s + ((<usize>j) << 3)), wanted));
      const factor = weightsOf(own, weight, j, notAfter(before, j, lanes));
      const pairs = v128.and(f32x4.mul(f32x4.mul(decay, factor), v128.load(CB + at)), wanted);
      v128.store(S + at, pairs);
    }
  }
}

/** Where a row ends: its tile, or the rows of its step, if they go on. */
function endOfTile(i: i32, end: i32): i32 {
  return max(i - (i % ROWS) + ROWS, end);
}

/** W of rows j..j+3. */
function weightsOf(own: usize, weight: usize, j: i32, isEarlier: v128): v128 {
  const at = (<usize>j) << 2;
  return v128.bitselect(v128.load(weight + at), v128.load(own + at), isEarlier);
}

/**
 * With E[i][j] = exp(s[i] - s[j]), W and CB as above, and M[i][j] = g[i].v[j]:
 *
 *   S = E W CB      T = E W M      columns[j] = sum_{i later than j} E CB M      diagonal[t] = sum within step t of CB M
 *
 * and for the first row k of each step, the gradient of its log decay, change[k] = sum_{i >= k > j} S M. Rows are taken
 * from the last to the first, so that the sums of the columns hold all later rows when those of earlier columns are added
 * up: what a gradient does not depend on cannot reach it, not even as NaN. Sums are in double precision. M is overwritten
 * by S, CB by T; `diagonal` has one number per step.
 */
// prettier-ignore
export function pairGradients(
  M: usize, CB: usize, change: usize, columns: usize, diagonal: usize,
  s: usize, own: usize, weight: usize, rows: i32, ranks: i32, ld: i32,
): void {
  const lanes = v128.load(laneIndex);
  memory.fill(columns, 0, (<usize>paddedSteps(rows)) << 3);
  memory.fill(change, 0, (<usize>paddedSteps(rows)) << 3);
  memory.fill(diagonal, 0, (<usize>(rows / ranks)) << 3);
  for (let i = rows - 1; i >= 0; i--) {
    const row = (<usize>i * ld) << 2;
    const si = v128.load64_splat(s + ((<usize>i) << 3));
    const first = i - (i % ranks);
    const last = i32x4.splat(first + ranks - 1);
    const before = i32x4.splat(first - 1);
    const end = endOfTile(i, first + ranks);
    addDiagonal(diagonal + ((<usize>(i / ranks)) << 3), M + row, CB + row, first, ranks);
    let low = f64x2.splat(0);
    let high = low;
    for (let j = 0; j < end; j += 4) {
      const at = row + ((<usize>j) << 2);
      const column = columns + ((<usize>j) << 3);
      const wanted = notAfter(last, j, lanes);
      const earlier = notAfter(before, j, lanes);
      const decay = exp(v128.and(differences(si, s + ((<usize>j) << 3)), wanted));
      const factor = f32x4.mul(decay, weightsOf(own, weight, j, earlier));
      const pairs = v128.and(v128.load(CB + at), wanted);
      const m = v128.and(v128.load(M + at), wanted);
      v128.store(CB + at, v128.and(f32x4.mul(factor, m), wanted));
      v128.store(M + at, v128.and(f32x4.mul(factor, pairs), wanted));
      const q = v128.and(f32x4.mul(f32x4.mul(decay, pairs), m), earlier);
      const columnsLow = f64x2.add(v128.load(column), f64x2.promote_low_f32x4(q));
      const columnsHigh = f64x2.add(
        v128.load(column, 16),
        f64x2.promote_low_f32x4(v128.shuffle<f64>(q, q, 1, 1)),
      );
      v128.store(column, columnsLow);
      v128.store(column, columnsHigh, 16);
      const w = v128.load(weight + ((<usize>j) << 2));
      const weightedLow = f64x2.mul(columnsLow, f64x2.promote_low_f32x4(w));
      const weightedHigh = f64x2.mul(columnsHigh, f64x2.promote_low_f32x4(v128.shuffle<f64>(w, w, 1, 1)));
      low = f64x2.add(low, v128.and(weightedLow, i64x2.extend_low_i32x4_s(earlier)));
      high = f64x2.add(high, v128.and(weightedHigh, i64x2.extend_high_i32x4_s(earlier)));
    }
    if (i != first) continue; // later rows of the step are not in yet
    const total = f64x2.add(low, high);
    store<f64>(change + ((<usize>i) << 3), f64x2.extract_lane(total, 0) + f64x2.extract_lane(total, 1));
  }
}

/** sum += M.CB over the columns of a row's own step. */
function addDiagonal(sum: usize, M: usize, CB: usize, first: i32, ranks: i32): void {
  let total = load<f64>(sum);
  for (let j = first; j < first + ranks; j++) {
    const at = (<usize>j) << 2;
    total += <f64>load<f32>(M + at) * <f64>load<f32>(CB + at);
  }
  store<f64>(sum, total);
}
