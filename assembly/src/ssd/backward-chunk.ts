/** Gradients of a head and chunk: see backward.ts. */
import { packPanels, scalePanels } from '../matrix/panels';
import { dotPadded } from '../matrix/rows';
import { COLUMNS } from '../matrix/tile';
import { BackwardCall, groupChunkAt, lengthOf } from './backward-call';
import { skipOf } from './call';
import { addDecays, decayGradients } from './decay-gradients';
import { chunkDecays, gatherSteps } from './decays';
import { transposeState } from './panels';
import {
  LEFT_STEP,
  LOWER_LEFT,
  multiply,
  multiplyPairs,
  multiplyTriangle,
  ones,
  RIGHT_STEP,
  ROWS,
  UPPER_LEFT,
} from './products';
import { addScaledRowDot, addSkip, gateGradient, inputGradient, multiplyRow, scaleRows } from './rows';

/** Decays of the head over a chunk. */
function headDecays(c: BackwardCall, index: i32, length: i32): void {
  const steps = c.steps + <usize>(index * c.chunk) * c.stepRow + <usize>(c.head - c.firstHead) * 4;
  gatherSteps(c.stepOfHead, steps, c.stepRow, length);
  chunkDecays(c.s, c.fromStart, c.toEnd, c.whole, c.stepOfHead, c.A + <usize>c.head * 4, 0, length);
}

/** The state at the end of a whole chunk, which is that at the start of the next. */
// prettier-ignore
export function nextState(c: BackwardCall, index: i32): void {
  const chunk = c.chunk;
  const panel = <usize>chunk * RIGHT_STEP;
  const h0 = c.h + <usize>index * c.packedBytes;
  const next = h0 + c.packedBytes;
  headDecays(c, index, chunk);
  packPanels(
    c.right, panel, COLUMNS, c.x + c.headAt + <usize>(index * chunk) * c.xRow, 4, c.xRow, c.headDim, chunk,
  );
  scalePanels(c.right, panel, chunk, c.channels, c.stepOfHead, 4);
  scalePanels(c.right, panel, chunk, c.channels, c.toEnd, 4);
  memory.copy(next, h0, c.packedBytes);
  const B = c.bDown + <usize>index * c.downBytes;
  multiply(
    next, RIGHT_STEP, c.panelBytes, c.states, c.channels, B, <usize>chunk * LEFT_STEP, c.right, panel, chunk, c.whole,
    0,
  );
}

/** Turns to a chunk of the head: its decays, and g, with the gradient of z except for what is gated. */
function openChunk(c: BackwardCall, index: i32): void {
  const length = lengthOf(c, index);
  const at = c.headAt + <usize>(index * c.chunk) * c.xRow;
  c.index = index;
  c.length = length;
  c.at = at;
  c.h0 = c.h + <usize>index * c.packedBytes;
  c.hasState = index > 0 || c.initialState != 0;
  c.hasGradient = index < c.chunks - 1 || c.dLastState != 0;
  headDecays(c, index, length);
  if (c.z == 0 || c.dy == 0) {
    scaleRows(c.g, c.rowBytes, c.dy == 0 ? 0 : c.dy + at, c.xRow, length, c.headDim, 0);
  }
  for (let i: usize = 0; c.z != 0 && i < <usize>length; i++) {
    const row = at + i * c.xRow;
    if (c.dy != 0) gateGradient(c.g + i * c.rowBytes, c.dz + row, c.dy + row, c.z + row, c.headDim);
    else memory.fill(c.dz + row, 0, c.headBytes);
  }
}

/** All gradients of a chunk, except for what a group has of B and C, and for the head's sums. @returns its term of dA */
export function chunkGradients(c: BackwardCall, index: i32): f64 {
  openChunk(c, index);
  memory.fill(c.toLater, 0, <usize>c.padded * 8);
  memory.fill(c.toState, 0, <usize>c.padded * 8);
  scaleRows(c.X, c.rowBytes, c.x + c.at, c.xRow, c.length, c.headDim, c.stepOfHead);
  packPanels(c.gLeft, <usize>c.headDim * LEFT_STEP, ROWS, c.g, c.rowBytes, 4, c.length, c.headDim);
  gradientsOfPairs(c);
  if (c.z != 0 && c.dy != 0) gradientsOfGate(c);
  gradientsOfInputs(c);
  const carried = gradientsOfReads(c);
  addDecays(c.change, c.toLater, c.toState, carried, c.length);
  const slope = finishSteps(c);
  if (c.hasGradient) gradientsOfWrites(c);
  return slope;
}

/** Turns to a chunk whose gradients are another thread's: what `gradientOfState` needs of it. */
export function openGradient(c: BackwardCall, index: i32): void {
  openChunk(c, index);
  packG(c);
}

/** g in panels. */
function packG(c: BackwardCall): void {
  packPanels(c.right, <usize>c.length * RIGHT_STEP, COLUMNS, c.g, 4, c.rowBytes, c.headDim, c.length);
}
/** M = g X^T; from it change, T and S, which takes the place of M. */
function gradientsOfPairs(c: BackwardCall): void {
  const length = c.length;
  const square = <usize>c.index * c.squareBytes;
  const leftPanel = <usize>c.headDim * LEFT_STEP;
  const rightPanel = <usize>c.headDim * RIGHT_STEP;
  packPanels(c.right, rightPanel, COLUMNS, c.X, c.rowBytes, 4, length, c.headDim);
  multiplyPairs(c.M, c.pairRow, length, c.gLeft, leftPanel, c.right, rightPanel, c.headDim, 1);
  decayGradients(c.M, c.T + square, c.change, c.CB + square, c.s, length, c.padded);
}

/** dz times what was gated, which is computed again. */
// prettier-ignore
function gradientsOfGate(c: BackwardCall): void {
  const length = c.length;
  const rowBytes = c.rowBytes;
  if (c.hasState) {
    const C = c.cDeep + <usize>c.index * c.deepBytes;
    multiply(
      c.Y, rowBytes, RIGHT_STEP, length, c.channels, C, c.deepPanel, c.h0, c.panelBytes, c.dState, 0, 0,
    );
  }
  packPanels(c.left, <usize>length * LEFT_STEP, ROWS, c.M, c.pairRow, 4, length, length);
  packPanels(c.right, <usize>length * RIGHT_STEP, COLUMNS, c.X, 4, rowBytes, c.headDim, length);
  const scale = c.hasState ? c.fromStart : 0;
  const scaleStep = c.hasState ? LEFT_STEP : 0;
  multiplyTriangle(c.Y, rowBytes, length, c.channels, c.left, c.right, scale, scaleStep, LOWER_LEFT, 1);
  const D = skipOf(c, c.head);
  for (let i: usize = 0; i < <usize>length; i++) {
    const row = c.at + i * c.xRow;
    const Y = c.Y + i * rowBytes;
    if (D != 0) addSkip(Y, c.x + row, D, c.headDim, c.skipByChannel);
    multiplyRow(c.dz + row, Y, c.headDim);
  }
}

/** dX, and what each step gives to the end. */
// prettier-ignore
function gradientsOfInputs(c: BackwardCall): void {
  const length = c.length;
  const rowBytes = c.rowBytes;
  if (c.hasGradient) {
    const B = c.bDeep + <usize>c.index * c.deepBytes;
    multiply(
      c.dX, rowBytes, RIGHT_STEP, length, c.channels, B, c.deepPanel, c.dh, c.panelBytes, c.dState, 0, 0,
    );
    for (let i: usize = 0; i < <usize>length; i++) {
      const own = dotPadded(c.X + i * rowBytes, c.dX + i * rowBytes, c.channels);
      store<f64>(c.toState + (i << 3), own * load<f32>(c.toEnd + (i << 2)));
    }
  }
  packPanels(c.left, <usize>length * LEFT_STEP, ROWS, c.M, 4, c.pairRow, length, length);
  packG(c);
  const scale = c.hasGradient ? c.toEnd : 0;
  const scaleStep = c.hasGradient ? LEFT_STEP : 0;
  multiplyTriangle(c.dX, rowBytes, length, c.channels, c.left, c.right, scale, scaleStep, UPPER_LEFT, 1);
}

/** dC of what h0 gives, and how much it gives to each step. @returns how much it gives to the end */
// prettier-ignore
function gradientsOfReads(c: BackwardCall): f64 {
  if (!c.hasState) return 0;
  const dState = c.dState;
  const row = c.groupStep;
  const dC = c.dCs + <usize>c.index * c.groupBytes;
  const C = c.C + groupChunkAt(c, c.index);
  const gPanel = <usize>c.headDim * LEFT_STEP;
  transposeState(c.turned, c.h0, c.headDim, dState);
  multiply(
    c.fromState, row, RIGHT_STEP, c.length, c.stateColumns, c.gLeft, gPanel, c.turned, c.turnedPanel, c.headDim, 0, 0,
  );
  for (let i: usize = 0; i < <usize>c.length; i++) {
    const factor = load<f32>(c.fromStart + (i << 2));
    const received = addScaledRowDot(dC + i * row, c.fromState + i * row, C + i * c.groupRow, factor, dState);
    store<f64>(c.toLater + (i << 3), received);
  }
  return c.hasGradient ? <f64>(load<f32>(c.whole) * dotPadded(c.dh, c.h0, c.states * c.channels)) : 0;
}

/** dx and ddt of each step, the latter as of the step size; and the sum for dD. @returns that for dA */
// prettier-ignore
function finishSteps(c: BackwardCall): f64 {
  const D = skipOf(c, c.head);
  const skip = c.dD == 0 ? 0 : c.skip;
  const first = c.sequence + <usize>(c.index * c.chunk);
  let ddt = c.ddt + first * c.headRow + <usize>c.head * 4;
  let slope: f64 = 0;
  memory.fill(c.skip, 0, c.rowBytes);
  for (let i: usize = 0; i < <usize>c.length; i++, ddt += c.headRow) {
    const step = load<f32>(c.stepOfHead + (i << 2));
    const logDecay = load<f64>(c.change + (i << 3));
    const row = c.at + i * c.xRow;
    const padded = i * c.rowBytes;
    const direct = inputGradient(
      c.dx + row, c.dX + padded, c.g + padded, c.x + row, D, skip, step, c.headDim, c.skipByChannel,
    );
    store<f32>(ddt, <f32>(<f64>c.rate * logDecay + <f64>direct));
    slope += <f64>step * logDecay;
  }
  return slope;
}

/** dB of what inputs give to the end. */
// prettier-ignore
function gradientsOfWrites(c: BackwardCall): void {
  const xPanel = <usize>c.headDim * LEFT_STEP;
  transposeState(c.turned, c.dh, c.headDim, c.dState);
  scaleRows(c.X, c.rowBytes, c.X, c.rowBytes, c.length, c.channels, c.toEnd);
  packPanels(c.left, xPanel, ROWS, c.X, c.rowBytes, 4, c.length, c.headDim);
  const dB = c.dBs + <usize>c.index * c.groupBytes;
  multiply(
    dB, c.groupStep, RIGHT_STEP, c.length, c.stateColumns, c.left, xPanel, c.turned, c.turnedPanel, c.headDim, ones, 0,
  );
}

/** dh <- exp(s_end) dh + sum_i exp(s[i]) C[i] g[i]^T */
// prettier-ignore
export function gradientOfState(c: BackwardCall): void {
  const length = c.length;
  const gPanel = <usize>length * RIGHT_STEP;
  const C = c.cDown + <usize>c.index * c.downBytes;
  scalePanels(c.right, gPanel, length, c.channels, c.fromStart, 4);
  multiply(
    c.dh, RIGHT_STEP, c.panelBytes, c.states, c.channels, C, <usize>length * LEFT_STEP, c.right, gPanel, length,
    c.hasGradient ? c.whole : 0, 0,
  );
}
