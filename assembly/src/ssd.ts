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
 * out += a b on 5 x 8 elements. Nothing else may be done here: with a branch beside the loop, or loops around it, V8
 * keeps accumulators in memory (27 GFLOP/s instead of 56). Two callers keep the compiler from inlining it.
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
      const factor = v128.load32_splat(scale + ((<usize>row) << 2));
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

/** One row of a tile: out += sum_d a[d] b[d]; steps of a are a tile's, 4 * ROWS bytes. */
function tileRow(out: usize, a: usize, b: usize, depth: i32): void {
  let low = v128.load(out);
  let high = v128.load(out, 16);
  for (; depth > 0; depth--) {
    const x = v128.load32_splat(a);
    low = madd(x, v128.load(b), low);
    high = madd(x, v128.load(b, 16), high);
    a += 4 * ROWS;
    b += 32;
  }
  v128.store(out, low);
  v128.store(out, high, 16);
}

/**
 * out += a b where the tile of a is square and lies on the diagonal of a triangular matrix. Row by row, so that what
 * is beside the triangle never meets b: there a 0 would be no mask, since 0 times NaN or infinity is NaN.
 */
function diagonalTile(out: usize, outRow: usize, a: usize, b: usize, depth: i32, upper: bool): void {
  for (let i = 0; i < ROWS; i++) {
    const begin = upper ? <usize>i : 0;
    const end = upper ? depth : min(i + 1, depth);
    tileRow(out, a + begin * (4 * ROWS), b + begin * 32, end - <i32>begin);
    out += outRow;
    a += 4;
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
      const here = <usize>row;
      scaleTile(target, outRow, factors);
      if (part == LOWER_LEFT) {
        tile(target, outRow, left, b, row);
        diagonalTile(target, outRow, left + here * (4 * ROWS), b + here * 32, ROWS, false);
      } else if (part == UPPER_LEFT) {
        const next = here + ROWS;
        diagonalTile(target, outRow, left + here * (4 * ROWS), b + here * 32, min(ROWS, depth - row), true);
        tile(target, outRow, left + next * (4 * ROWS), b + next * 32, depth - <i32>next);
      } else {
        tile(target, outRow, left, b, depth);
      }
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
function transposeRows(
  out: usize,
  outRow: usize,
  source: usize,
  sourceRow: usize,
  count: i32,
  depth: i32,
): void {
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
    store<f32>(out, source == 0 ? 0 : load<f32>(source + ((<usize>d) << 2)));
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
      storeTail(out + at, f32x4.pmin(f32x4.pmax(step, low), high), nHeads - head);
    }
  }
}

/** Every stride-th float: the step sizes of one head, in a row. */
function gatherSteps(out: usize, step: usize, stride: usize, count: i32): void {
  for (let i = 0; i < count; i++) {
    store<f32>(out + ((<usize>i) << 2), load<f32>(step));
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
function chunkDecays(
  s: usize,
  fromStart: usize,
  toEnd: usize,
  whole: usize,
  step: usize,
  A: f32,
  length: i32,
): void {
  let total: f64 = 0;
  const padded = paddedSteps(length);
  for (let i = 0; i < padded; i++) {
    if (i < length) total += <f64>load<f32>(step + ((<usize>i) << 2)) * <f64>A;
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

/** out[d][i] *= factors[d], for panels of 8. */
function scalePanels(panels: usize, panel: usize, depth: i32, count: i32, factors: usize): void {
  for (let first = 0; first < count; first += COLUMNS) {
    for (let d = 0; d < depth; d++) {
      const at = panels + ((<usize>d) << 5);
      const factor = v128.load32_splat(factors + ((<usize>d) << 2));
      v128.store(at, f32x4.mul(factor, v128.load(at)));
      v128.store(at, f32x4.mul(factor, v128.load(at, 16)), 16);
    }
    panels += panel;
  }
}

/** y *= silu(z). */
function gate(y: usize, z: usize, size: i32): void {
  const end = y + ((<usize>(size & ~3)) << 2);
  for (; y < end; y += 16, z += 16) v128.store(y, f32x4.mul(v128.load(y), silu(v128.load(z))));
  const rest = size & 3;
  storeTail(y, f32x4.mul(loadTail(y, rest), silu(loadTail(z, rest))), rest);
}

/** Y += D x on one row. */
function addSkip(Y: usize, x: usize, D: usize, headDim: i32, skipByChannel: i32): void {
  for (let p = 0; p < headDim; p += 4) {
    const at = (<usize>p) << 2;
    const rest = headDim - p;
    const factor = skipByChannel ? loadTail(D + at, rest) : v128.load32_splat(D);
    v128.store(Y + at, madd(factor, loadTail(x + at, rest), v128.load(Y + at)));
  }
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
          if (D != 0) addSkip(Y + <usize>i * yRow, x + at, skipOfHead, headDim, skipByChannel);
          memory.copy(y + at, Y + <usize>i * yRow, headBytes);
        }
        scalePanels(X8, <usize>rows * 32, length, channels, toEnd);
        multiply(
          h, 32, <usize>states * 32, states, channels, B5, <usize>length * 4 * ROWS, X8, <usize>rows * 32, length,
          hasState ? whole : 0, 0,
        );
      }
      // All heads at once: rows of a whole chunk are one stream to the prefetcher (5 -> 1 ms at 24 x 64 x 1024).
      if (z != 0) gate(y + token * xRow, z + token * xRow, length * nHeads * headDim);
    }
    for (let head = 0; head < nHeads; head++) {
      const at = (<usize>b * nHeads + head) * publicState;
      unpackState(lastState + at, h8 + <usize>head * <usize>stateBytes, headDim, dState);
    }
  }
  return <f64>end;
}

/** The dot product of two arrays of a multiple of 4 floats. */
function dot(a: usize, b: usize, count: i32): f32 {
  let acc0 = f32x4.splat(0);
  let acc1 = acc0;
  const end = a + ((<usize>count) << 2);
  for (; a + 32 <= end; a += 32, b += 32) {
    acc0 = madd(v128.load(a), v128.load(b), acc0);
    acc1 = madd(v128.load(a, 16), v128.load(b, 16), acc1);
  }
  if (a < end) acc0 = madd(v128.load(a), v128.load(b), acc0);
  return sum(f32x4.add(acc0, acc1));
}

/** out[i][0..count-1] = factors[i] source[i][..], zeros up to a multiple of 8; zeros all if source is 0. */
// prettier-ignore
function scaleRows(
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
function gateGradient(g: usize, dz: usize, dy: usize, z: usize, headDim: i32): void {
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
function multiplyRow(y: usize, Y: usize, headDim: i32): void {
  for (let p = 0; p < headDim; p += 4) {
    const at = (<usize>p) << 2;
    const rest = headDim - p;
    storeTail(y + at, f32x4.mul(loadTail(y + at, rest), v128.load(Y + at)), rest);
  }
}

/**
 * With E[i][j] = exp(s[i] - s[j]) for j <= i, and M[i][j] = g[i].X[j]:
 *
 *   S = E CB      T += E M      change[t] = sum_{i >= t > j} S[i][j] M[i][j]
 *
 * change[t] is the gradient of the log decay of step t. It is built up from sums over rows and columns in double
 * precision, whose large common part cancels exactly. M is overwritten by S.
 */
function decayGradients(M: usize, T: usize, change: usize, CB: usize, s: usize, length: i32, ld: i32): void {
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

/**
 * Gradients of ssdChunkedForward; dy and dLastState may be 0. Gradients of inputs that are 0 are not written.
 *
 * Of each group, then of each of its heads: forward over the chunks, keeping the state at each chunk's start (h0), then
 * backward, dh being the gradient of the state at the chunk's end. With g = dy silu(z), X, S and s as above, and
 * M[i][j] = g[i].X[j], E[i][j] = exp(s[i] - s[j]):
 *
 *   dX = S^T g    + diag(exp(s_end - s)) B dh          dB = (E M)^T C + diag(exp(s_end - s)) X dh^T
 *   dC = (E M) B  + diag(exp(s)) g h0^T                dh <- exp(s_end) dh + sum_i exp(s[i]) C[i] g[i]^T
 *
 * E M is summed over the heads of a group before it meets B and C. The log decay of step t acts on every pair
 * j < t <= i: on those within the chunk, on what h0 gives to outputs from t on, on what inputs before t give to the
 * end, and on h0 in the end.
 */
// prettier-ignore
export function ssdChunkedBackward(
  dx: usize, ddt: usize, dA: usize, dB: usize, dC: usize, dD: usize, dz: usize, dDtBias: usize, dInitialState: usize,
  dy: usize, dLastState: usize,
  x: usize, dt: usize, A: usize, B: usize, C: usize, D: usize, z: usize, dtBias: usize, initialState: usize,
  batch: i32, seqLen: i32, nHeads: i32, headDim: i32, nGroups: i32, dState: i32, chunkSize: i32,
  skipByChannel: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32, scratch: usize,
): f64 {
  const chunk = min(chunkSize, seqLen);
  const chunks = (seqLen + chunk - 1) / chunk;
  const padded = paddedSteps(chunk);
  const channels = roundUp(headDim, COLUMNS);
  const states = roundUp(dState, ROWS);
  const stateColumns = roundUp(dState, COLUMNS);
  const steps32 = <u64>padded * 4;
  const square = steps32 * padded;
  const stateBytes = <u64>states * channels * 4;

  let end: u64 = scratch;
  // Of one group, all chunks.
  const C5 = <usize>end; end += steps32 * dState * chunks; // rows of a chunk down, states deep
  const B5 = <usize>end; end += steps32 * dState * chunks;
  const Cn = <usize>end; end += steps32 * states * chunks; // states down, a chunk deep
  const Bn = <usize>end; end += steps32 * states * chunks;
  const CB = <usize>end; end += square * chunks;
  const T = <usize>end; end += square * chunks;
  const dBs = <usize>end; end += steps32 * stateColumns * chunks;
  const dCs = <usize>end; end += steps32 * stateColumns * chunks;
  // Of one head.
  const h = <usize>end; end += stateBytes * chunks;
  const dh = <usize>end; end += stateBytes;
  const turned = <usize>end; end += <u64>stateColumns * channels * 4; // a state, states across
  // Of one head and chunk; the operands may also hold B or C, which are dState wide.
  const wide = <u64>max(channels, stateColumns);
  const X = <usize>end; end += steps32 * channels;
  const g = <usize>end; end += steps32 * channels;
  const Y = <usize>end; end += steps32 * channels;
  const dX = <usize>end; end += steps32 * channels;
  const left = <usize>end; end += steps32 * max(<u64>padded, wide);
  const right = <usize>end; end += steps32 * wide;
  const g5 = <usize>end; end += steps32 * channels;
  const M = <usize>end; end += square;
  const fromState = <usize>end; end += steps32 * stateColumns;
  const s = <usize>end; end += 2 * steps32;
  const change = <usize>end; end += 2 * steps32;
  const toLater = <usize>end; end += 2 * steps32; // per step, what h0 gives to it
  const toState = <usize>end; end += 2 * steps32; // per step, what it gives to the end
  const fromStart = <usize>end; end += steps32;
  const toEnd = <usize>end; end += steps32;
  const stepOfHead = <usize>end; end += steps32;
  const whole = <usize>end; end += 32;
  const skipSum = <usize>end; end += <u64>channels * 4;
  const dASum = <usize>end; end += <u64>nHeads * 8;
  const dSkip = <usize>end; end += <u64>nHeads * channels * 4;
  const steps = <usize>end; end += <u64>seqLen * nHeads * 4;
  if (scratch == 0) return <f64>end;

  const headRow = <usize>nHeads * 4;
  const xRow = headRow * headDim;
  const groupRow = <usize>nGroups * dState * 4;
  const headBytes = <usize>headDim * 4;
  const headsOfGroup = nHeads / nGroups;
  const publicState = <usize>headDim * dState * 4;
  const ld = <usize>padded * 4;
  const rowBytes = <usize>channels * 4;
  const stateRow = <usize>stateColumns * 4;
  const statePanel = <usize>states * 32;
  const deepPanel = <usize>dState * (4 * ROWS);
  const chunkDeep = <usize>(steps32 * dState);
  const chunkDown = <usize>(steps32 * states);
  const chunkSquare = <usize>square;
  const chunkRows = <usize>(steps32 * stateColumns);

  memory.fill(dASum, 0, <usize>nHeads * 8);
  memory.fill(dSkip, 0, <usize>nHeads * rowBytes);
  for (let b = 0; b < batch; b++) {
    const sequence = <usize>b * seqLen;
    stepSizes(steps, dt + sequence * headRow, dtBias, seqLen, nHeads, dtSoftplus, dtMin, dtMax);
    for (let group = 0; group < nGroups; group++) {
      const groupAt = sequence * groupRow + <usize>group * dState * 4;
      for (let c = 0; c < chunks; c++) {
        const length = min(chunk, seqLen - c * chunk);
        const rows = roundUp(length, ROWS);
        const at = groupAt + <usize>(c * chunk) * groupRow;
        const index = <usize>c;
        packDown(C5 + index * chunkDeep, deepPanel, C + at, groupRow, ROWS, length, dState);
        packDown(B5 + index * chunkDeep, deepPanel, B + at, groupRow, ROWS, length, dState);
        packAcross(Cn + index * chunkDown, C + at, groupRow, ROWS, length, length, dState, 0);
        packAcross(Bn + index * chunkDown, B + at, groupRow, ROWS, length, length, dState, 0);
        packDown(right, <usize>dState * 32, B + at, groupRow, COLUMNS, length, dState);
        multiplyTriangle(
          CB + index * chunkSquare, ld, rows, length, C5 + index * chunkDeep, deepPanel,
          right, <usize>dState * 32, dState, 0, 0, LOWER_RESULT,
        );
      }
      memory.fill(T, 0, chunkSquare * chunks);
      memory.fill(dBs, 0, chunkRows * chunks);
      memory.fill(dCs, 0, chunkRows * chunks);

      for (let head = group * headsOfGroup; head < (group + 1) * headsOfGroup; head++) {
        const decayRate = load<f32>(A + <usize>head * 4);
        const headAt = sequence * xRow + <usize>head * headBytes;
        const stateAt = (<usize>b * nHeads + head) * publicState;
        const skipOfHead = offset(D, skipByChannel ? <usize>head * headBytes : <usize>head * 4);
        if (initialState != 0) packState(h, initialState + stateAt, headDim, dState);
        else memory.fill(h, 0, <usize>stateBytes);
        for (let c = 0; c + 1 < chunks; c++) {
          const at = headAt + <usize>(c * chunk) * xRow;
          const h0 = h + <usize>c * <usize>stateBytes;
          const next = h0 + <usize>stateBytes;
          gatherSteps(stepOfHead, steps + <usize>(c * chunk) * headRow + <usize>head * 4, headRow, chunk);
          chunkDecays(s, fromStart, toEnd, whole, stepOfHead, decayRate, chunk);
          packAcross(right, x + at, xRow, COLUMNS, chunk, chunk, headDim, stepOfHead);
          scalePanels(right, <usize>chunk * 32, chunk, channels, toEnd);
          memory.copy(next, h0, <usize>stateBytes);
          multiply(
            next, 32, statePanel, states, channels, Bn + <usize>c * chunkDown, <usize>chunk * (4 * ROWS),
            right, <usize>chunk * 32, chunk, whole, 0,
          );
        }

        if (dLastState != 0) packState(dh, dLastState + stateAt, headDim, dState);
        for (let c = chunks - 1; c >= 0; c--) {
          const index = <usize>c;
          const length = min(chunk, seqLen - c * chunk);
          const rows = roundUp(length, ROWS);
          const h0 = h + index * <usize>stateBytes;
          const hasState = c > 0 || initialState != 0;
          const hasGradient = c < chunks - 1 || dLastState != 0;
          const at = headAt + <usize>(c * chunk) * xRow;
          const stepAt = <usize>(c * chunk) * headRow + <usize>head * 4;
          const pairs = CB + index * chunkSquare;
          gatherSteps(stepOfHead, steps + stepAt, headRow, length);
          chunkDecays(s, fromStart, toEnd, whole, stepOfHead, decayRate, length);
          memory.fill(toLater, 0, <usize>(2 * steps32));
          memory.fill(toState, 0, <usize>(2 * steps32));

          scaleRows(X, rowBytes, x + at, xRow, length, headDim, stepOfHead);
          if (z == 0 || dy == 0) scaleRows(g, rowBytes, offset(dy, at), xRow, length, headDim, 0);
          for (let i: usize = 0; z != 0 && i < <usize>length; i++) {
            const row = at + i * xRow;
            if (dy != 0) gateGradient(g + i * rowBytes, dz + row, dy + row, z + row, headDim);
            else memory.fill(dz + row, 0, headBytes);
          }
          packDown(g5, <usize>headDim * (4 * ROWS), g, rowBytes, ROWS, length, headDim);

          packDown(right, <usize>headDim * 32, X, rowBytes, COLUMNS, length, headDim);
          multiplyTriangle(
            M, ld, rows, length, g5, <usize>headDim * (4 * ROWS),
            right, <usize>headDim * 32, headDim, 0, 0, LOWER_RESULT,
          );
          decayGradients(M, T + index * chunkSquare, change, pairs, s, length, padded); // M is S now

          if (z != 0 && dy != 0) {
            if (hasState) {
              multiply(
                Y, rowBytes, 32, rows, channels, C5 + index * chunkDeep, deepPanel, h0, statePanel, dState, 0, 0,
              );
            }
            packDown(left, <usize>rows * (4 * ROWS), M, ld, ROWS, length, rows);
            packAcross(right, X, rowBytes, COLUMNS, length, rows, headDim, 0);
            multiplyTriangle(
              Y, rowBytes, rows, channels, left, <usize>rows * (4 * ROWS), right, <usize>rows * 32, rows,
              hasState ? fromStart : 0, hasState ? 4 * ROWS : 0, LOWER_LEFT,
            );
            for (let i: usize = 0; i < <usize>length; i++) {
              const row = at + i * xRow;
              if (D != 0) addSkip(Y + i * rowBytes, x + row, skipOfHead, headDim, skipByChannel);
              multiplyRow(dz + row, Y + i * rowBytes, headDim);
            }
          }

          if (hasGradient) {
            multiply(
              dX, rowBytes, 32, rows, channels, B5 + index * chunkDeep, deepPanel, dh, statePanel, dState, 0, 0,
            );
            for (let i: usize = 0; i < <usize>length; i++) {
              const given = dot(X + i * rowBytes, dX + i * rowBytes, channels) * load<f32>(toEnd + (i << 2));
              store<f64>(toState + (i << 3), given);
            }
          }
          packAcross(left, M, ld, ROWS, length, length, length, 0);
          packAcross(right, g, rowBytes, COLUMNS, length, length, headDim, 0);
          multiplyTriangle(
            dX, rowBytes, rows, channels, left, <usize>length * (4 * ROWS), right, <usize>length * 32, length,
            hasGradient ? toEnd : 0, hasGradient ? 4 * ROWS : 0, UPPER_LEFT,
          );

          let carried: f64 = 0;
          if (hasState) {
            transposeState(turned, h0, headDim, dState);
            multiply(
              fromState, stateRow, 32, rows, stateColumns, g5, <usize>headDim * (4 * ROWS),
              turned, <usize>channels * 32, headDim, 0, 0,
            );
            const chunkAt = groupAt + <usize>(c * chunk) * groupRow;
            for (let i: usize = 0; i < <usize>length; i++) {
              const received = addScaledRow(
                dCs + index * chunkRows + i * stateRow, fromState + i * stateRow, C + chunkAt + i * groupRow,
                load<f32>(fromStart + (i << 2)), dState,
              );
              store<f64>(toLater + (i << 3), received);
            }
            if (hasGradient) carried = <f64>(load<f32>(whole) * dot(dh, h0, states * channels));
          }
          addDecays(change, toLater, toState, carried, length);

          let slope: f64 = 0;
          memory.fill(skipSum, 0, rowBytes);
          for (let i: usize = 0; i < <usize>length; i++) {
            const step = load<f32>(stepOfHead + (i << 2));
            const logDecay = load<f64>(change + (i << 3));
            const row = at + i * xRow;
            const direct = inputGradient(
              dx + row, dX + i * rowBytes, g + i * rowBytes, x + row, skipOfHead, dD == 0 ? 0 : skipSum,
              step, headDim, skipByChannel,
            );
            store<f32>(
              ddt + sequence * headRow + stepAt + i * headRow, <f32>(<f64>decayRate * logDecay + <f64>direct),
            );
            slope += <f64>step * logDecay;
          }
          const slopeAt = dASum + <usize>head * 8;
          store<f64>(slopeAt, load<f64>(slopeAt) + slope);
          if (dD != 0) addRow(dSkip + <usize>head * rowBytes, skipSum, channels);

          if (hasGradient) {
            transposeState(turned, dh, headDim, dState);
            scaleRows(X, rowBytes, X, rowBytes, length, channels, toEnd);
            packDown(left, <usize>headDim * (4 * ROWS), X, rowBytes, ROWS, length, headDim);
            multiply(
              dBs + index * chunkRows, stateRow, 32, rows, stateColumns, left, <usize>headDim * (4 * ROWS),
              turned, <usize>channels * 32, headDim, ones, 0,
            );
          }
          if (c > 0 || dInitialState != 0) {
            scalePanels(right, <usize>length * 32, length, channels, fromStart);
            multiply(
              dh, 32, statePanel, states, channels, Cn + index * chunkDown, <usize>length * (4 * ROWS),
              right, <usize>length * 32, length, hasGradient ? whole : 0, 0,
            );
          }
        }
        if (dInitialState != 0) unpackState(dInitialState + stateAt, dh, headDim, dState);
      }

      for (let c = 0; c < chunks; c++) {
        const index = <usize>c;
        const length = min(chunk, seqLen - c * chunk);
        const rows = roundUp(length, ROWS);
        const at = groupAt + <usize>(c * chunk) * groupRow;
        const pairs = T + index * chunkSquare;
        const dCsAt = dCs + index * chunkRows;
        const dBsAt = dBs + index * chunkRows;
        packDown(left, <usize>rows * (4 * ROWS), pairs, ld, ROWS, length, rows);
        packAcross(right, B + at, groupRow, COLUMNS, length, rows, dState, 0);
        multiplyTriangle(
          dCsAt, stateRow, rows, stateColumns, left, <usize>rows * (4 * ROWS), right, <usize>rows * 32, rows,
          ones, 0, LOWER_LEFT,
        );
        packAcross(left, pairs, ld, ROWS, length, length, length, 0);
        packAcross(right, C + at, groupRow, COLUMNS, length, length, dState, 0);
        multiplyTriangle(
          dBsAt, stateRow, rows, stateColumns, left, <usize>length * (4 * ROWS), right, <usize>length * 32, length,
          ones, 0, UPPER_LEFT,
        );
        for (let i: usize = 0; i < <usize>length; i++) {
          memory.copy(dC + at + i * groupRow, dCsAt + i * stateRow, <usize>dState * 4);
          memory.copy(dB + at + i * groupRow, dBsAt + i * stateRow, <usize>dState * 4);
        }
      }
    }
  }

  for (let head: usize = 0; head < <usize>nHeads; head++) {
    store<f32>(dA + (head << 2), <f32>load<f64>(dASum + (head << 3)));
    if (dD == 0) continue;
    const row = dSkip + head * rowBytes;
    if (skipByChannel) {
      memory.copy(dD + head * headBytes, row, headBytes);
    } else {
      let total = f32x4.splat(0);
      for (let p: usize = 0; p < rowBytes; p += 16) total = f32x4.add(total, v128.load(row + p));
      store<f32>(dD + (head << 2), sum(total));
    }
  }
  stepGradients(ddt, dDtBias, dASum, dt, dtBias, batch * seqLen, nHeads, dtSoftplus, dtMin, dtMax);
  return <f64>end;
}

/** total += factor row; @returns factor C.row. row and total are padded, C is not. */
function addScaledRow(total: usize, row: usize, C: usize, factor: f32, count: i32): f32 {
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

function addRow(total: usize, row: usize, count: i32): void {
  for (const end = total + ((<usize>count) << 2); total < end; total += 16, row += 16) {
    v128.store(total, f32x4.add(v128.load(total), v128.load(row)));
  }
}

/** change[t] += sum_{i >= t} toLater[i] + sum_{j < t} toState[j] + carried. */
function addDecays(change: usize, toLater: usize, toState: usize, carried: f64, length: i32): void {
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

/** dx = step dX + D g and, if wanted, skipSum += g x, one row of one head. @returns x.dX */
// prettier-ignore
function inputGradient(
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

/** ddt, of the step size in place, becomes that of dt: through the limits and softplus. sums are nHeads doubles. */
// prettier-ignore
function stepGradients(
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
      const raw = rawStep(dt + at, offset(dtBias, <usize>head << 2), rest);
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

/**
 * The matrix M [batch, nHeads, seqLen, seqLen] by which a head takes dt x to y (without D and z):
 * M[i][j] = exp(s[i] - s[j]) (C[i].B[j]) for j <= i, else 0. The sequence is one chunk here.
 */
// prettier-ignore
export function ssdMatrixForward(
  M: usize, dt: usize, A: usize, B: usize, C: usize, dtBias: usize,
  batch: i32, seqLen: i32, nHeads: i32, nGroups: i32, dState: i32,
  dtSoftplus: i32, dtMin: f32, dtMax: f32, scratch: usize,
): f64 {
  const padded = paddedSteps(seqLen);
  const rows = roundUp(seqLen, ROWS);
  const steps32 = <u64>padded * 4;
  let end: u64 = scratch;
  const C5 = <usize>end; end += steps32 * dState;
  const B8 = <usize>end; end += steps32 * dState;
  const CB = <usize>end; end += steps32 * padded;
  const S = <usize>end; end += steps32 * padded;
  const s = <usize>end; end += 2 * steps32;
  const fromStart = <usize>end; end += steps32;
  const toEnd = <usize>end; end += steps32;
  const whole = <usize>end; end += 32;
  const stepOfHead = <usize>end; end += steps32;
  const steps = <usize>end; end += <u64>seqLen * nHeads * 4;
  if (scratch == 0) return <f64>end;

  const ld = <usize>padded * 4;
  const groupRow = <usize>nGroups * dState * 4;
  const headRow = <usize>nHeads * 4;
  const row = <usize>seqLen * 4;
  const headsOfGroup = nHeads / nGroups;
  for (let b = 0; b < batch; b++) {
    const sequence = <usize>b * seqLen;
    stepSizes(steps, dt + sequence * headRow, dtBias, seqLen, nHeads, dtSoftplus, dtMin, dtMax);
    for (let head = 0; head < nHeads; head++) {
      if (head % headsOfGroup == 0) {
        const group = sequence * groupRow + <usize>(head / headsOfGroup) * dState * 4;
        packDown(C5, <usize>dState * (4 * ROWS), C + group, groupRow, ROWS, seqLen, dState);
        packDown(B8, <usize>dState * 32, B + group, groupRow, COLUMNS, seqLen, dState);
        multiplyTriangle(
          CB, ld, rows, seqLen, C5, <usize>dState * (4 * ROWS), B8, <usize>dState * 32, dState, 0, 0, LOWER_RESULT,
        );
      }
      gatherSteps(stepOfHead, steps + <usize>head * 4, headRow, seqLen);
      chunkDecays(s, fromStart, toEnd, whole, stepOfHead, load<f32>(A + <usize>head * 4), seqLen);
      decayed(S, CB, s, seqLen, padded);
      for (let i = 0; i < seqLen; i++) {
        const below = <usize>(i + 1) * 4;
        memory.copy(M, S + <usize>i * ld, below);
        memory.fill(M + below, 0, row - below);
        M += row;
      }
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
