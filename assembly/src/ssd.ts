/**
 * State space duality, the mixer of Mamba-2 (Dao & Gu 2024, arXiv:2405.21060), head by head:
 *
 *   h[t] = exp(dt[t] A) h[t-1] + dt[t] x[t] B[t]^T
 *   y[t] = (C[t] h[t] + D x[t]) silu(z[t])
 *
 *   y, x, z  [batch, seqLen, nHeads, headDim]     h     [batch, nHeads, headDim, dState]
 *   B, C     [batch, seqLen, nGroups, dState]     D     [nHeads], or [nHeads, headDim] if skipByChannel
 *   dt       [batch, seqLen, nHeads]              A, dtBias  [nHeads]
 *
 * dt passes bias, softplus (if dtSoftplus) and the limits [dtMin, dtMax], in this order. nGroups divides nHeads. D, z,
 * dtBias and initialState may be 0. The chunked functions return the bytes of working memory that they need, and do
 * nothing else, if scratch is 0.
 *
 * The chunked form (section 6 of the paper): with s[i] the sum of dt A from the start of a chunk to step i, and
 * X[j] = dt[j] x[j],
 *
 *   y[i]  = exp(s[i]) C[i] h0 + sum_{j <= i} exp(s[i] - s[j]) (C[i].B[j]) X[j]
 *   h_end = exp(s_end) h0     + sum_j exp(s_end - s[j]) B[j] X[j]^T
 *
 * s is in double precision: its differences over a chunk then keep all digits that a float has. Nothing is divided by
 * a decay. C.B is the same for all heads of a group and computed once.
 *
 * All products of matrices go through one register tile, of 5 rows by 8 columns. Its operands are packed into panels:
 * the left one 5 rows wide, the right one 8 columns wide, both [panel][depth][width] and padded with zeros, so that
 * the tile knows no remainders. The state lies in panels of 8 channels: [headDim / 8][dState][8].
 */
import { exp, loadTail, madd, sigmoid, silu, softplus, storeTail, sum } from './simd';

// 5 x 8 floats are 10 accumulators; with 12 (6 x 8) V8 runs out of registers where multiply and add are two
// instructions: 32 GFLOP/s instead of 56, of a peak of 63.
const ROWS = 5;
const COLUMNS = 8;

// What is triangular in a product; "lower" is on and below the diagonal.
const LOWER_LEFT = 1; // the left operand is lower triangular
const UPPER_LEFT = 2; // the left operand is upper triangular
const LOWER_RESULT = 3; // tiles wholly above the diagonal of the result are not written

const zeros: usize = memory.data<f32>([0, 0, 0, 0], 16);
const ones: usize = memory.data<f32>([1, 1, 1, 1, 1], 16);
const laneIndex: usize = memory.data<i32>([0, 1, 2, 3], 16);

function roundUp(size: i32, unit: i32): i32 {
  return ((size + unit - 1) / unit) * unit;
}

/** Steps of a chunk as the arrays over them are allocated: whole tiles both ways. */
function paddedSteps(steps: i32): i32 {
  return roundUp(roundUp(steps, ROWS), COLUMNS);
}

/**
 * out += a b on 5 x 8 elements. Nothing else may be done here, and the function must have two callers, or it is inlined: a
 * branch beside the loop, or loops around it, and V8 keeps accumulators in memory (27 GFLOP/s instead of 56).
 */
function tile(out: usize, outRow: usize, a: usize, b: usize, depth: i32): void {
  const row1 = out + outRow;
  const row2 = row1 + outRow;
  const row3 = row2 + outRow;
  const row4 = row3 + outRow;
  let c00 = v128.load(out);
  let c01 = v128.load(out, 16);
  let c10 = v128.load(row1);
  let c11 = v128.load(row1, 16);
  let c20 = v128.load(row2);
  let c21 = v128.load(row2, 16);
  let c30 = v128.load(row3);
  let c31 = v128.load(row3, 16);
  let c40 = v128.load(row4);
  let c41 = v128.load(row4, 16);
  for (; depth > 0; depth--) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    c00 = madd(x, b0, c00);
    c01 = madd(x, b1, c01);
    x = v128.load32_splat(a, 4);
    c10 = madd(x, b0, c10);
    c11 = madd(x, b1, c11);
    x = v128.load32_splat(a, 8);
    c20 = madd(x, b0, c20);
    c21 = madd(x, b1, c21);
    x = v128.load32_splat(a, 12);
    c30 = madd(x, b0, c30);
    c31 = madd(x, b1, c31);
    x = v128.load32_splat(a, 16);
    c40 = madd(x, b0, c40);
    c41 = madd(x, b1, c41);
    a += 4 * ROWS;
    b += 32;
  }
  v128.store(out, c00);
  v128.store(out, c01, 16);
  v128.store(row1, c10);
  v128.store(row1, c11, 16);
  v128.store(row2, c20);
  v128.store(row2, c21, 16);
  v128.store(row3, c30);
  v128.store(row3, c31, 16);
  v128.store(row4, c40);
  v128.store(row4, c41, 16);
}

/** out = diag(scale) out on 5 x 8 elements; zeros if scale is 0. */
function scaleTile(out: usize, outRow: usize, scale: usize): void {
  for (let row = 0; row < ROWS; row++) {
    let low = f32x4.splat(0);
    let high = low;
    if (scale != 0) {
      const factor = v128.load32_splat(scale + (<usize>row << 2));
      low = f32x4.mul(factor, v128.load(out));
      high = f32x4.mul(factor, v128.load(out, 16));
    }
    v128.store(out, low);
    v128.store(out, high, 16);
    out += outRow;
  }
}

/**
 * out = diag(scale) out + a b, or a b if scale is 0, on whole tiles: rows and columns are rounded up.
 * outPanel, aPanel and bPanel are the bytes from one panel to the next; scaleStep those from one panel's scales to the
 * next panel's (0: all have the same).
 */
// prettier-ignore
function multiply(
  out: usize, outRow: usize, outPanel: usize, rows: i32, columns: i32,
  a: usize, aPanel: usize, b: usize, bPanel: usize, depth: i32,
  scale: usize, scaleStep: usize,
): void {
  for (let column = 0; column < columns; column += COLUMNS) {
    let target = out;
    let left = a;
    let factors = scale;
    for (let row = 0; row < rows; row += ROWS) {
      scaleTile(target, outRow, factors);
      tile(target, outRow, left, b, depth);
      target += <usize>ROWS * outRow;
      left += aPanel;
      factors += scaleStep;
    }
    out += outPanel;
    b += bPanel;
  }
}

/** The same where `part` says that one matrix is triangular. out has panels of 32 bytes. */
// prettier-ignore
function multiplyTriangle(
  out: usize, outRow: usize, rows: i32, columns: i32,
  a: usize, aPanel: usize, b: usize, bPanel: usize, depth: i32,
  scale: usize, scaleStep: usize, part: i32,
): void {
  for (let column = 0; column < columns; column += COLUMNS) {
    const skipped = part == LOWER_RESULT ? column / ROWS : 0;
    let target = out + <usize>(skipped * ROWS) * outRow;
    let left = a + <usize>skipped * aPanel;
    let factors = scale + <usize>skipped * scaleStep;
    for (let row = skipped * ROWS; row < rows; row += ROWS) {
      const begin = part == UPPER_LEFT ? row : 0;
      const end = part == LOWER_LEFT ? row + ROWS : depth;
      scaleTile(target, outRow, factors);
      tile(target, outRow, left + <usize>begin * (4 * ROWS), b + <usize>begin * 32, end - begin);
      target += <usize>ROWS * outRow;
      left += aPanel;
      factors += scaleStep;
    }
    out += 32;
    b += bPanel;
  }
}

/**
 * Packs a matrix whose rows are the depth: out[panel][d][i] = factors[d] source[d][panel width + i]. factors may be 0
 * (all one). Up to outDepth, steps that the source lacks are zeros. width is 5 or 8.
 */
// prettier-ignore
function packAcross(
  out: usize, source: usize, sourceRow: usize, width: i32, depth: i32, outDepth: i32, count: i32, factors: usize,
): void {
  const bytes = <usize>width * 4;
  for (let first = 0; first < count; first += width) {
    const low = count - first;
    const high = min(max(low - 4, 0), width - 4);
    let from = source + <usize>first * 4;
    let factor = f32x4.splat(1);
    for (let d = 0; d < depth; d++) {
      if (factors != 0) factor = v128.load32_splat(factors + <usize>d * 4);
      v128.store(out, f32x4.mul(factor, loadTail(from, low)));
      storeTail(out + 16, f32x4.mul(factor, loadTail(from + 16, high)), width - 4);
      out += bytes;
      from += sourceRow;
    }
    const missing = <usize>(outDepth - depth) * bytes;
    memory.fill(out, 0, missing);
    out += missing;
  }
}

/**
 * Packs a matrix whose columns are the depth: out[panel][d][i] = source[panel width + i][d], zeros for rows that the
 * source lacks. outPanel is the bytes from one panel to the next. width is 5 or 8.
 */
// prettier-ignore
function packDown(
  out: usize, outPanel: usize, source: usize, sourceRow: usize, width: i32, count: i32, depth: i32,
): void {
  const step = <usize>width * 4;
  for (let first = 0; first < count; first += width) {
    for (let i = 0; i < width; ) {
      const from = source + <usize>(first + i) * sourceRow;
      const target = out + <usize>i * 4;
      if (width - i >= 4) {
        transposeRows(target, step, from, sourceRow, count - first - i, depth);
        i += 4;
      } else {
        spreadRow(target, step, first + i < count ? from : 0, depth);
        i++;
      }
    }
    out += outPanel;
  }
}

/** Four rows, those beyond `count` zero, into columns: out[d][0..3] = source[0..3][d]. */
function transposeRows(out: usize, outRow: usize, source: usize, sourceRow: usize, count: i32, depth: i32): void {
  // A row that is missing reads the same zeros all along.
  const step0: usize = count > 0 ? 4 : 0;
  const step1: usize = count > 1 ? 4 : 0;
  const step2: usize = count > 2 ? 4 : 0;
  const step3: usize = count > 3 ? 4 : 0;
  let row0 = step0 ? source : zeros;
  let row1 = step1 ? source + sourceRow : zeros;
  let row2 = step2 ? source + 2 * sourceRow : zeros;
  let row3 = step3 ? source + 3 * sourceRow : zeros;
  for (; depth >= 4; depth -= 4) {
    const r0 = v128.load(row0);
    const r1 = v128.load(row1);
    const r2 = v128.load(row2);
    const r3 = v128.load(row3);
    const low01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
    const high01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
    const low23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
    const high23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
    v128.store(out, v128.shuffle<f64>(low01, low23, 0, 2));
    v128.store(out + outRow, v128.shuffle<f64>(low01, low23, 1, 3));
    v128.store(out + 2 * outRow, v128.shuffle<f64>(high01, high23, 0, 2));
    v128.store(out + 3 * outRow, v128.shuffle<f64>(high01, high23, 1, 3));
    row0 += 4 * step0;
    row1 += 4 * step1;
    row2 += 4 * step2;
    row3 += 4 * step3;
    out += 4 * outRow;
  }
  for (; depth > 0; depth--) {
    store<f32>(out, load<f32>(row0));
    store<f32>(out, load<f32>(row1), 4);
    store<f32>(out, load<f32>(row2), 8);
    store<f32>(out, load<f32>(row3), 12);
    row0 += step0;
    row1 += step1;
    row2 += step2;
    row3 += step3;
    out += outRow;
  }
}

/** One row into a column; zeros if source is 0. */
function spreadRow(out: usize, outRow: usize, source: usize, depth: i32): void {
  for (let d = 0; d < depth; d++) {
    store<f32>(out, source == 0 ? 0 : load<f32>(source + (<usize>d << 2)));
    out += outRow;
  }
}

/** A state [headDim, dState] into panels of channels. */
function packState(panels: usize, h: usize, headDim: i32, dState: i32): void {
  const panel = <usize>roundUp(dState, ROWS) * 32;
  memory.fill(panels, 0, <usize>(roundUp(headDim, COLUMNS) / COLUMNS) * panel);
  packDown(panels, panel, h, <usize>dState * 4, COLUMNS, headDim, dState);
}

/** And back. */
function unpackState(h: usize, panels: usize, headDim: i32, dState: i32): void {
  const panel = <usize>roundUp(dState, ROWS) * 32;
  for (let p = 0; p < headDim; p++) {
    let from = panels + <usize>(p / COLUMNS) * panel + <usize>(p % COLUMNS) * 4;
    for (let n = 0; n < dState; n++) {
      store<f32>(h, load<f32>(from));
      h += 4;
      from += 32;
    }
  }
}

/** Panels of channels into panels of states: [dState / 8][headDim][8]. */
function transposeState(out: usize, panels: usize, headDim: i32, dState: i32): void {
  const panel = <usize>roundUp(dState, ROWS) * 32;
  const outPanel = <usize>roundUp(headDim, COLUMNS) * 32;
  for (let p = 0; p < headDim; p += COLUMNS) {
    packDown(out + <usize>p * 32, outPanel, panels, 32, COLUMNS, dState, COLUMNS);
    panels += panel;
  }
}

/** dt before softplus and limits, four heads. */
function rawStep(dt: usize, dtBias: usize, count: i32): v128 {
  const raw = loadTail(dt, count);
  return dtBias == 0 ? raw : f32x4.add(raw, loadTail(dtBias, count));
}

/** The step sizes that the recurrence uses, [rows, nHeads]. */
// prettier-ignore
function stepSizes(
  out: usize, dt: usize, dtBias: usize, rows: i32, nHeads: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32,
): void {
  const low = f32x4.splat(dtMin);
  const high = f32x4.splat(dtMax);
  for (let row = 0; row < rows; row++) {
    for (let head = 0; head < nHeads; head += 4) {
      const at = (<usize>row * nHeads + head) * 4;
      const bias = dtBias == 0 ? 0 : dtBias + <usize>head * 4;
      let step = rawStep(dt + at, bias, nHeads - head);
      if (dtSoftplus) step = softplus(step);
      storeTail(out + at, f32x4.pmin(high, f32x4.pmax(low, step)), nHeads - head);
    }
  }
}

/** Every stride-th float: the step sizes of one head, in a row. */
function gatherSteps(out: usize, step: usize, stride: usize, count: i32): void {
  for (let i = 0; i < count; i++) {
    store<f32>(out + (<usize>i << 2), load<f32>(step));
    step += stride;
  }
}

/** Four doubles as floats. */
function narrowed(low: v128, high: v128): v128 {
  return v128.shuffle<f64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
}

/** minuend - s[0..3], as floats. */
function differences(minuend: v128, s: usize): v128 {
  return narrowed(f64x2.sub(minuend, v128.load(s)), f64x2.sub(minuend, v128.load(s, 16)));
}

/**
 * The decays of one head over a chunk: s in double precision, fromStart = exp(s), toEnd = exp(s_end - s), and whole,
 * eight times exp(s_end). The arrays are padded (paddedSteps) with the last s.
 */
function chunkDecays(s: usize, fromStart: usize, toEnd: usize, whole: usize, step: usize, A: f32, length: i32): void {
  let total: f64 = 0;
  const padded = paddedSteps(length);
  for (let i = 0; i < padded; i++) {
    if (i < length) total += <f64>load<f32>(step + (<usize>i << 2)) * <f64>A;
    store<f64>(s + (<usize>i << 3), total);
  }
  const end = f64x2.splat(total);
  for (let i = 0; i < padded; i += 4) {
    const from = s + (<usize>i << 3);
    v128.store(fromStart + (<usize>i << 2), exp(narrowed(v128.load(from), v128.load(from, 16))));
    v128.store(toEnd + (<usize>i << 2), exp(differences(end, from)));
  }
  const all = exp(f32x4.splat(<f32>total));
  v128.store(whole, all);
  v128.store(whole, all, 16);
}

/** Lanes j..j+3 that are at most i. */
function notAfter(i: v128, j: i32, lanes: v128): v128 {
  return i32x4.le_s(i32x4.add(lanes, i32x4.splat(j)), i);
}

/**
 * S[i][j] = exp(s[i] - s[j]) CB[i][j] for j <= i, and 0 from there to the end of the tile; rows of ld floats. What
 * lies above the diagonal is masked out before exp, and after: CB is garbage there.
 */
function decayed(S: usize, CB: usize, s: usize, length: i32, ld: i32): void {
  const lanes = v128.load(laneIndex);
  for (let i = 0; i < length; i++) {
    const row = (<usize>i * ld) << 2;
    const si = v128.load64_splat(s + (<usize>i << 3));
    const index = i32x4.splat(i);
    const end = i - (i % ROWS) + ROWS;
    for (let j = 0; j < end; j += 4) {
      const at = row + (<usize>j << 2);
      const wanted = notAfter(index, j, lanes);
      const decay = exp(v128.and(differences(si, s + (<usize>j << 3)), wanted));
      v128.store(S + at, v128.and(f32x4.mul(decay, v128.load(CB + at)), wanted));
    }
  }
}

/** out[d][i] *= factors[d], for panels of 8. */
function scalePanels(panels: usize, panel: usize, depth: i32, count: i32, factors: usize): void {
  for (let first = 0; first < count; first += COLUMNS) {
    for (let d = 0; d < depth; d++) {
      const at = panels + (<usize>d << 5);
      const factor = v128.load32_splat(factors + (<usize>d << 2));
      v128.store(at, f32x4.mul(factor, v128.load(at)));
      v128.store(at, f32x4.mul(factor, v128.load(at, 16)), 16);
    }
    panels += panel;
  }
}

/** y = (Y + D x) silu(z), one row of one head. D is 0 or its address for this head. */
// prettier-ignore
function writeOutput(
  y: usize, Y: usize, x: usize, D: usize, z: usize, headDim: i32, skipByChannel: i32,
): void {
  for (let p = 0; p < headDim; p += 4) {
    const at = <usize>p << 2;
    const rest = headDim - p;
    let value = v128.load(Y + at);
    if (D != 0) value = madd(skip(D, p, rest, skipByChannel), loadTail(x + at, rest), value);
    if (z != 0) value = f32x4.mul(value, silu(loadTail(z + at, rest)));
    storeTail(y + at, value, rest);
  }
}

function skip(D: usize, p: i32, rest: i32, skipByChannel: i32): v128 {
  return skipByChannel ? loadTail(D + (<usize>p << 2), rest) : v128.load32_splat(D);
}

function offset(base: usize, bytes: usize): usize {
  return base == 0 ? 0 : base + bytes;
}

// prettier-ignore
export function ssdChunkedForward(
  y: usize, lastState: usize,
  x: usize, dt: usize, A: usize, B: usize, C: usize, D: usize, z: usize, dtBias: usize, initialState: usize,
  batch: i32, seqLen: i32, nHeads: i32, headDim: i32, nGroups: i32, dState: i32, chunkSize: i32,
  skipByChannel: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32, scratch: usize,
): f64 {
  const chunk = min(chunkSize, seqLen);
  const padded = paddedSteps(chunk);
  const channels = roundUp(headDim, COLUMNS);
  const states = roundUp(dState, ROWS);
  const stateBytes = <u64>states * channels * 4;

  let end: u64 = scratch;
  const C5 = <usize>end; end += <u64>padded * dState * 4;
  const B5 = <usize>end; end += <u64>states * padded * 4;
  const B8 = <usize>end; end += <u64>padded * dState * 4;
  const CB = <usize>end; end += <u64>padded * padded * 4;
  const S = <usize>end; end += <u64>padded * padded * 4;
  const S5 = <usize>end; end += <u64>padded * padded * 4;
  const X8 = <usize>end; end += <u64>padded * channels * 4;
  const Y = <usize>end; end += <u64>padded * channels * 4;
  const s = <usize>end; end += <u64>padded * 8;
  const fromStart = <usize>end; end += <u64>padded * 4;
  const toEnd = <usize>end; end += <u64>padded * 4;
  const whole = <usize>end; end += 32;
  const h8 = <usize>end; end += stateBytes * nHeads;
  const steps = <usize>end; end += <u64>chunk * nHeads * 4;
  const stepOfHead = <usize>end; end += <u64>chunk * 4;
  if (scratch == 0) return <f64>end;

  const headRow = <usize>nHeads * 4;
  const xRow = headRow * headDim;
  const groupRow = <usize>nGroups * dState * 4;
  const headBytes = <usize>headDim * 4;
  const headsOfGroup = nHeads / nGroups;
  const publicState = <usize>headDim * dState * 4;
  const ld = <usize>padded * 4;
  const leftPanel = <usize>dState * 4 * ROWS;

  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < seqLen; t += chunk) {
      const length = min(chunk, seqLen - t);
      const rows = roundUp(length, ROWS);
      const token = <usize>b * seqLen + t;
      const hasState = t > 0 || initialState != 0;
      stepSizes(steps, dt + token * headRow, dtBias, length, nHeads, dtSoftplus, dtMin, dtMax);
      for (let head = 0; head < nHeads; head++) {
        const h = h8 + <usize>head * <usize>stateBytes;
        const group = token * groupRow + <usize>(head / headsOfGroup) * dState * 4;
        if (head % headsOfGroup == 0) {
          packDown(C5, leftPanel, C + group, groupRow, ROWS, length, dState);
          packDown(B8, <usize>dState * 32, B + group, groupRow, COLUMNS, length, dState);
          packAcross(B5, B + group, groupRow, ROWS, length, length, dState, 0);
          multiplyTriangle(
            CB, ld, rows, length, C5, leftPanel, B8, <usize>dState * 32, dState, 0, 0, LOWER_RESULT,
          );
        }
        if (t == 0 && initialState != 0) {
          packState(h, initialState + (<usize>b * nHeads + head) * publicState, headDim, dState);
        }
        gatherSteps(stepOfHead, steps + <usize>head * 4, headRow, length);
        chunkDecays(s, fromStart, toEnd, whole, stepOfHead, load<f32>(A + <usize>head * 4), length);
        const from = token * xRow + <usize>head * headBytes;
        packAcross(X8, x + from, xRow, COLUMNS, length, rows, headDim, stepOfHead);
        decayed(S, CB, s, length, padded);
        packDown(S5, <usize>rows * 4 * ROWS, S, ld, ROWS, length, rows);

        const yRow = <usize>channels * 4;
        if (hasState) {
          multiply(
            Y, yRow, 32, rows, channels, C5, leftPanel, h, <usize>states * 32, dState, 0, 0,
          );
        }
        multiplyTriangle(
          Y, yRow, rows, channels, S5, <usize>rows * 4 * ROWS, X8, <usize>rows * 32, rows,
          hasState ? fromStart : 0, hasState ? 4 * ROWS : 0, LOWER_LEFT,
        );
        const skipOfHead = offset(D, skipByChannel ? <usize>head * headBytes : <usize>head * 4);
        for (let i = 0; i < length; i++) {
          const at = from + <usize>i * xRow;
          writeOutput(y + at, Y + <usize>i * yRow, x + at, skipOfHead, offset(z, at), headDim, skipByChannel);
        }
        scalePanels(X8, <usize>rows * 32, length, channels, toEnd);
        multiply(
          h, 32, <usize>states * 32, states, channels, B5, <usize>length * 4 * ROWS, X8, <usize>rows * 32, length,
          hasState ? whole : 0, 0,
        );
      }
    }
    for (let head = 0; head < nHeads; head++) {
      const at = (<usize>b * nHeads + head) * publicState;
      unpackState(lastState + at, h8 + <usize>head * <usize>stateBytes, headDim, dState);
    }
  }
  return <f64>end;
}

/** One step of one sequence; h is updated in place. Lanes run along dState, four channels share the loads of B and C. */
// prettier-ignore
function advance(
  y: usize, h: usize,
  x: usize, dt: usize, A: usize, B: usize, C: usize, D: usize, z: usize, dtBias: usize,
  nHeads: i32, headDim: i32, nGroups: i32, dState: i32,
  skipByChannel: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32,
): void {
  const headsOfGroup = nHeads / nGroups;
  const row = <usize>dState * 4;
  for (let head = 0; head < nHeads; head++) {
    const at = <usize>head * 4;
    const group = <usize>(head / headsOfGroup) * row;
    const step = stepOf(load<f32>(dt + at) + (dtBias == 0 ? 0 : load<f32>(dtBias + at)), dtSoftplus, dtMin, dtMax);
    const decay = exp(f32x4.splat(step * load<f32>(A + at)));
    for (let p = 0; p < headDim; p += 4) {
      const rest = headDim - p;
      const inputs = loadTail(x, rest);
      let outputs = recall(h, row, B + group, C + group, decay, f32x4.mul(f32x4.splat(step), inputs), dState, rest);
      if (D != 0) {
        const skipped = skipByChannel ? loadTail(D, rest) : v128.load32_splat(D + at);
        outputs = madd(skipped, inputs, outputs);
        if (skipByChannel) D += <usize>min(rest, 4) * 4;
      }
      if (z != 0) {
        outputs = f32x4.mul(outputs, silu(loadTail(z, rest)));
        z += <usize>min(rest, 4) * 4;
      }
      storeTail(y, outputs, rest);
      const moved = <usize>min(rest, 4);
      x += moved * 4;
      y += moved * 4;
      h += moved * row;
    }
  }
}

function stepOf(raw: f32, dtSoftplus: i32, dtMin: f32, dtMax: f32): f32 {
  const step = dtSoftplus ? f32x4.extract_lane(softplus(f32x4.splat(raw)), 0) : raw;
  return min<f32>(dtMax, max<f32>(dtMin, step));
}

/** h = decay h + inputs B on up to four channels; C.h of each. */
// prettier-ignore
function recall(
  h: usize, row: usize, B: usize, C: usize, decay: v128, inputs: v128, dState: i32, count: i32,
): v128 {
  const x0 = v128.shuffle<f32>(inputs, inputs, 0, 0, 0, 0);
  const x1 = v128.shuffle<f32>(inputs, inputs, 1, 1, 1, 1);
  const x2 = v128.shuffle<f32>(inputs, inputs, 2, 2, 2, 2);
  const x3 = v128.shuffle<f32>(inputs, inputs, 3, 3, 3, 3);
  let y0 = f32x4.splat(0);
  let y1 = y0;
  let y2 = y0;
  let y3 = y0;
  let h1 = h + row;
  let h2 = h1 + row;
  let h3 = h2 + row;
  let n = 0;
  if (count >= 4) {
    for (; n + 4 <= dState; n += 4) {
      const b = v128.load(B);
      const c = v128.load(C);
      const s0 = madd(decay, v128.load(h), f32x4.mul(x0, b));
      const s1 = madd(decay, v128.load(h1), f32x4.mul(x1, b));
      const s2 = madd(decay, v128.load(h2), f32x4.mul(x2, b));
      const s3 = madd(decay, v128.load(h3), f32x4.mul(x3, b));
      v128.store(h, s0);
      v128.store(h1, s1);
      v128.store(h2, s2);
      v128.store(h3, s3);
      y0 = madd(c, s0, y0);
      y1 = madd(c, s1, y1);
      y2 = madd(c, s2, y2);
      y3 = madd(c, s3, y3);
      h += 16;
      h1 += 16;
      h2 += 16;
      h3 += 16;
      B += 16;
      C += 16;
    }
  }
  // What is left: the end of the rows, or rows that are fewer than four.
  for (; n < dState; n += 4) {
    const rest = dState - n;
    const b = loadTail(B, rest);
    const c = loadTail(C, rest);
    const s0 = madd(decay, loadTail(h, rest), f32x4.mul(x0, b));
    storeTail(h, s0, rest);
    y0 = madd(c, s0, y0);
    if (count > 1) {
      const s1 = madd(decay, loadTail(h1, rest), f32x4.mul(x1, b));
      storeTail(h1, s1, rest);
      y1 = madd(c, s1, y1);
    }
    if (count > 2) {
      const s2 = madd(decay, loadTail(h2, rest), f32x4.mul(x2, b));
      storeTail(h2, s2, rest);
      y2 = madd(c, s2, y2);
    }
    if (count > 3) {
      const s3 = madd(decay, loadTail(h3, rest), f32x4.mul(x3, b));
      storeTail(h3, s3, rest);
      y3 = madd(c, s3, y3);
    }
    h += 16;
    h1 += 16;
    h2 += 16;
    h3 += 16;
    B += 16;
    C += 16;
  }
  return f32x4(sum(y0), sum(y1), sum(y2), sum(y3));
}

/** The recurrence as it stands, step by step: h is the initial state, and becomes the last. */
// prettier-ignore
export function ssdRecurrentForward(
  y: usize, h: usize,
  x: usize, dt: usize, A: usize, B: usize, C: usize, D: usize, z: usize, dtBias: usize,
  batch: i32, seqLen: i32, nHeads: i32, headDim: i32, nGroups: i32, dState: i32,
  skipByChannel: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32,
): void {
  const headRow = <usize>nHeads * 4;
  const xRow = headRow * headDim;
  const groupRow = <usize>nGroups * dState * 4;
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < seqLen; t++) {
      advance(
        y, h, x, dt, A, B, C, D, z, dtBias,
        nHeads, headDim, nGroups, dState, skipByChannel, dtSoftplus, dtMin, dtMax,
      );
      y += xRow;
      x += xRow;
      if (z != 0) z += xRow;
      dt += headRow;
      B += groupRow;
      C += groupRow;
    }
    h += xRow * dState;
  }
}

/** One step of a batch of sequences, y and x [batch, nHeads, headDim] and so on; h is updated in place. */
// prettier-ignore
export function ssdStep(
  y: usize, h: usize,
  x: usize, dt: usize, A: usize, B: usize, C: usize, D: usize, z: usize, dtBias: usize,
  batch: i32, nHeads: i32, headDim: i32, nGroups: i32, dState: i32,
  skipByChannel: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32,
): void {
  ssdRecurrentForward(
    y, h, x, dt, A, B, C, D, z, dtBias,
    batch, 1, nHeads, headDim, nGroups, dState, skipByChannel, dtSoftplus, dtMin, dtMax,
  );
}
