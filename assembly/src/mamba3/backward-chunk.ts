/** The gradients of one chunk of a head: products of matrices. */
import { packPanels, scalePanels } from '../matrix/panels';
import { dot, dotPadded } from '../matrix/rows';
import { COLUMNS } from '../matrix/tile';
import { loadTail } from '../simd';
import { chunkDecays } from '../ssd/decays';
import { transposeState } from '../ssd/panels';
import {
  LEFT_STEP,
  LOWER_LEFT,
  multiply,
  multiplyPairs,
  multiplyTriangle,
  RIGHT_STEP,
  ROWS,
  UPPER_LEFT,
} from '../ssd/products';
import { BackwardCall } from './backward-call';
import { pairGradients } from './pairs';
import { hasInitial, headInputs, headRows, packInputs, weightEnds } from './rows';
import { rowsOfSteps } from './steps';

/** Turns to a chunk of the head: its rows of B', v and, if `reads`, C', and its decays. */
export function openChunk(c: BackwardCall, index: i32, reads: bool): void {
  const first = index * c.chunk;
  const count = min(c.chunk, c.seqLen - first);
  const anglesAt = <usize>first * c.angleRow;
  c.chunkIndex = index;
  c.steps0 = first;
  c.count = count;
  c.length = count * c.nRanks;
  c.token = c.item * c.seqLen + first;
  c.h0 = c.h + <usize>index * c.packedBytes;
  headRows(c, c.token, c.head, count, c.cosines + anglesAt, c.sines + anglesAt, reads);
  rowsOfSteps(c, first, count);
  chunkDecays(c.s, c.fromStart, c.toEnd, c.whole, c.stepOfRow, c.rateOfRow, 4, c.length);
  weightEnds(c, c.length);
  headInputs(c, c.token * c.xRow + <usize>c.head * c.headBytes, c.head, count);
}

/** The state at the end of a chunk, which is that at the start of the next. */
// prettier-ignore
export function nextState(c: BackwardCall, hasState: bool): void {
  const rows = c.length;
  const panel = <usize>rows * RIGHT_STEP;
  const leftPanel = <usize>rows * LEFT_STEP;
  const next = c.h0 + c.packedBytes;
  packInputs(c, c.right, rows);
  scalePanels(c.right, panel, rows, c.channels, c.toEndWeighted, 4);
  packPanels(c.left, leftPanel, ROWS, c.Bs, 4, c.stateRow, c.dState, rows);
  if (hasState) memory.copy(next, c.h0, c.packedBytes);
  multiply(
    next, RIGHT_STEP, c.panelBytes, c.states, c.channels, c.left, leftPanel, c.right, panel, rows,
    hasState ? c.whole : 0, 0,
  );
}

/** v and g of the chunk as rows of whole tiles. */
export function openGradients(c: BackwardCall): void {
  const rows = c.length;
  c.hasState = c.chunkIndex > 0 || hasInitial(c);
  c.hasGradient = c.chunkIndex < c.chunks - 1 || c.dLastState != 0;
  // Where x is v, it is not padded yet; where it is not, the rows are, but not with zeros.
  for (let i: usize = 0; i < <usize>rows; i++)
    padRow(c.V + i * c.rowBytes, c.v + i * c.vRow, c.headDim, c.channels);
  if (c.dy == 0) memory.fill(c.g, 0, <usize>rows * c.rowBytes);
  else {
    let g = c.g;
    let dy = c.dy + c.token * c.outRow + <usize>c.head * c.headOut;
    for (let t = 0; t < c.count; t++, dy += c.outRow) {
      for (let r: usize = 0; r < <usize>c.nRanks; r++, g += c.rowBytes) {
        padRow(g, dy + r * c.headBytes, c.headDim, c.channels);
      }
    }
  }
  packPanels(c.gLeft, <usize>c.headDim * LEFT_STEP, ROWS, c.g, c.rowBytes, 4, rows, c.headDim);
  packPanels(c.gRight, <usize>rows * RIGHT_STEP, COLUMNS, c.g, 4, c.rowBytes, c.headDim, rows);
  memory.fill(c.toLater, 0, <usize>c.padded * 8);
  memory.fill(c.toState, 0, <usize>c.padded * 8);
}

/** Copies a row, and fills it up with zeros; may be in place. */
function padRow(out: usize, row: usize, size: i32, padded: i32): void {
  for (; size >= 4; size -= 4, padded -= 4, out += 16, row += 16) v128.store(out, v128.load(row));
  for (; padded > 0; size = 0, padded -= 4, out += 16, row += 16) v128.store(out, loadTail(row, size));
}

/** C' B'^T and M = g v^T; from them the gradients of decays and weights, S in place of M and E W M in place of C' B'^T. */
export function gradientsOfPairs(c: BackwardCall): void {
  const rows = c.length;
  const stateRight = <usize>c.dState * RIGHT_STEP;
  const headLeft = <usize>c.headDim * LEFT_STEP;
  const headRight = <usize>c.headDim * RIGHT_STEP;
  packPanels(c.left, c.deepPanel, ROWS, c.Cs, c.stateRow, 4, rows, c.dState);
  packPanels(c.right, stateRight, COLUMNS, c.Bs, c.stateRow, 4, rows, c.dState);
  multiplyPairs(c.CB, c.pairRow, rows, c.left, c.deepPanel, c.right, stateRight, c.dState, c.nRanks);
  packPanels(c.right, headRight, COLUMNS, c.V, c.rowBytes, 4, rows, c.headDim);
  multiplyPairs(c.M, c.pairRow, rows, c.gLeft, headLeft, c.right, headRight, c.headDim, c.nRanks);
  pairGradients(
    c.M,
    c.CB,
    c.change,
    c.columns,
    c.ownGradients + ((<usize>c.steps0) << 3),
    c.s,
    c.ownOfRow,
    c.weightOfRow,
    rows,
    c.nRanks,
    c.padded,
  );
}

/** dV, and what each row gives to the end. */
// prettier-ignore
export function gradientsOfInputs(c: BackwardCall): void {
  const rows = c.length;
  const rowBytes = c.rowBytes;
  if (c.hasGradient) {
    packPanels(c.left, c.deepPanel, ROWS, c.Bs, c.stateRow, 4, rows, c.dState);
    multiply(c.dV, rowBytes, RIGHT_STEP, rows, c.channels, c.left, c.deepPanel, c.dh, c.panelBytes, c.dState, 0, 0);
    for (let i: usize = 0; i < <usize>rows; i++) {
      const own = dotPadded(c.V + i * rowBytes, c.dV + i * rowBytes, c.channels) * load<f32>(c.toEnd + (i << 2));
      const column = c.columns + (i << 3);
      store<f64>(column, load<f64>(column) + own);
      store<f64>(c.toState + (i << 3), own * load<f32>(c.weightOfRow + (i << 2)));
    }
  }
  packPanels(c.left, <usize>rows * LEFT_STEP, ROWS, c.M, 4, c.pairRow, rows, rows);
  const scale = c.hasGradient ? c.toEndWeighted : 0;
  const scaleStep = c.hasGradient ? LEFT_STEP : 0;
  multiplyTriangle(c.dV, rowBytes, rows, c.channels, c.left, c.gRight, scale, scaleStep, UPPER_LEFT, c.nRanks);
}

/** dC', and how much h0 gives to each row. @returns how much it gives to the end */
// prettier-ignore
export function gradientsOfReads(c: BackwardCall): f64 {
  const rows = c.length;
  const row = c.gradientRow;
  let carried: f64 = 0;
  if (c.hasState) {
    transposeState(c.turned, c.h0, c.headDim, c.dState);
    multiply(
      c.dCs, row, RIGHT_STEP, rows, c.stateColumns, c.gLeft, <usize>c.headDim * LEFT_STEP, c.turned, c.turnedPanel,
      c.headDim, 0, 0,
    );
    for (let i: usize = 0; i < <usize>rows; i++) {
      const received = dot(c.Cs + i * c.stateRow, c.dCs + i * row, c.dState) * load<f32>(c.fromStart + (i << 2));
      store<f64>(c.toLater + (i << 3), received);
    }
    if (c.hasGradient) carried = <f64>(load<f32>(c.whole) * dotPadded(c.dh, c.h0, c.states * c.channels));
  }
  packPanels(c.left, <usize>rows * LEFT_STEP, ROWS, c.CB, c.pairRow, 4, rows, rows);
  packPanels(c.right, <usize>rows * RIGHT_STEP, COLUMNS, c.Bs, 4, c.stateRow, c.dState, rows);
  const scale = c.hasState ? c.fromStart : 0;
  const scaleStep = c.hasState ? LEFT_STEP : 0;
  multiplyTriangle(c.dCs, row, rows, c.stateColumns, c.left, c.right, scale, scaleStep, LOWER_LEFT, c.nRanks);
  return carried;
}

/** dB'. */
// prettier-ignore
export function gradientsOfWrites(c: BackwardCall): void {
  const rows = c.length;
  const row = c.gradientRow;
  if (c.hasGradient) {
    const vPanel = <usize>c.headDim * LEFT_STEP;
    transposeState(c.turned, c.dh, c.headDim, c.dState);
    packPanels(c.left, vPanel, ROWS, c.V, c.rowBytes, 4, rows, c.headDim);
    multiply(
      c.dBs, row, RIGHT_STEP, rows, c.stateColumns, c.left, vPanel, c.turned, c.turnedPanel, c.headDim, 0, 0,
    );
  }
  packPanels(c.left, <usize>rows * LEFT_STEP, ROWS, c.CB, 4, c.pairRow, rows, rows);
  packPanels(c.right, <usize>rows * RIGHT_STEP, COLUMNS, c.Cs, 4, c.stateRow, c.dState, rows);
  const scale = c.hasGradient ? c.toEndWeighted : 0;
  const scaleStep = c.hasGradient ? LEFT_STEP : 0;
  multiplyTriangle(c.dBs, row, rows, c.stateColumns, c.left, c.right, scale, scaleStep, UPPER_LEFT, c.nRanks);
}

/** dh <- exp(s_end) dh + sum_i exp(s[i]) C'[i] g[i]^T */
// prettier-ignore
export function gradientOfState(c: BackwardCall): void {
  const rows = c.length;
  const gPanel = <usize>rows * RIGHT_STEP;
  const leftPanel = <usize>rows * LEFT_STEP;
  packPanels(c.left, leftPanel, ROWS, c.Cs, 4, c.stateRow, c.dState, rows);
  scalePanels(c.gRight, gPanel, rows, c.channels, c.fromStart, 4);
  multiply(
    c.dh, RIGHT_STEP, c.panelBytes, c.states, c.channels, c.left, leftPanel, c.gRight, gPanel, rows,
    c.hasGradient ? c.whole : 0, 0,
  );
}
