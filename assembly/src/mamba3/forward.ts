/** The chunked form, forward: see mamba3.ts. */
import { packPanels, scalePanels } from '../matrix/panels';
import { copyRow, roundUpLarge } from '../matrix/rows';
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { COLUMNS } from '../matrix/tile';
import { loadTail, madd, storeTail } from '../simd';
import { setHeads, setSizes } from '../ssd/call';
import { chunkDecays } from '../ssd/decays';
import { unpackState } from '../ssd/panels';
import {
  LEFT_STEP,
  LOWER_LEFT,
  multiply,
  multiplyPairs,
  multiplyTriangle,
  RIGHT_STEP,
  ROWS,
} from '../ssd/products';
import { Mamba3Call, setMamba3Sizes, takeAngles, takeSteps } from './call';
import { weighted } from './pairs';
import { headAngles, headTurns, startAngles, storeAngles } from './rotation';
import {
  hasInitial,
  headInputs,
  headRows,
  keptAt,
  keptStep,
  packInputs,
  paddedRowsLarge,
  startState,
  takeRows,
  weightEnds,
} from './rows';
import { headSteps, rowsOfSteps, stepWeights } from './steps';

@unmanaged
class ForwardCall extends Mamba3Call {
  y: usize;
  lastAngle: usize;
  lastState: usize;
  lastB: usize;
  lastX: usize;
  // Of a head over a chunk: C' down, B' across and down, C' B'^T, S, S packed, v packed, the output.
  cDeep: usize;
  bRight: usize;
  bDown: usize;
  pairs: usize;
  S: usize;
  sLeft: usize;
  vRight: usize;
  Y: usize;
  // Of all heads: states, and angles.
  states8: usize;
  anglesOfHeads: usize;
}

function layOut(c: ForwardCall, scratch: usize, heads: i32): void {
  const padded = paddedRowsLarge(c);
  const channels = roundUpLarge(<f64>c.headDim, COLUMNS);
  const states = roundUpLarge(<f64>c.dState, ROWS);
  startScratch(scratch, offsetof<ForwardCall>());
  takeSteps(c, <f64>c.chunk);
  takeAngles(c, <f64>c.chunk);
  takeRows(c);
  c.cDeep = takeFloats(padded * <f64>c.dState);
  c.bRight = takeFloats(padded * <f64>c.dState);
  c.bDown = takeFloats(padded * states);
  c.pairs = takeFloats(padded * padded);
  c.S = takeFloats(padded * padded);
  c.sLeft = takeFloats(padded * padded);
  c.vRight = takeFloats(padded * channels);
  c.Y = takeFloats(padded * channels);
  c.states8 = takeFloats(states * channels * <f64>heads);
  c.anglesOfHeads = takeFloats(2 * roundUpLarge(<f64>c.nAngles, 4) * <f64>heads);
}

/** Where a call is laid out of which only the size is asked. */
const nowhere: usize = memory.data(offsetof<ForwardCall>());

/** Bytes of scratch memory for so many heads of one item of the batch. */
// prettier-ignore
export function mamba3ChunkedForwardScratchBytes(
  seqLen: i32, nHeads: i32, headDim: i32, nRanks: i32, dState: i32, nAngles: i32, chunkSize: i32,
): f64 {
  const c = changetype<ForwardCall>(nowhere);
  setSizes(c, seqLen, nHeads, headDim, 1, dState, chunkSize);
  setMamba3Sizes(c, nRanks, nAngles, 1);
  layOut(c, 0, nHeads);
  return scratchEnd();
}

/** Units are heads, counted over the batch. */
// prettier-ignore
export function mamba3ChunkedForward(
  y: usize, lastAngle: usize, lastState: usize, lastB: usize, lastX: usize,
  x: usize, dt: usize, A: usize, trap: usize, B: usize, C: usize, angles: usize,
  BBias: usize, CBias: usize, D: usize, mimoX: usize, dtBias: usize,
  initialAngle: usize, initialState: usize, initialB: usize, initialX: usize,
  seqLen: i32, nHeads: i32, headDim: i32, nRanks: i32, nGroups: i32, dState: i32, nAngles: i32, angleHeads: i32,
  half: i32, dtSoftplus: i32, aFloor: f32, chunkSize: i32, scratch: usize, first: i32, count: i32,
): void {
  const c = changetype<ForwardCall>(scratch);
  setSizes(c, seqLen, nHeads, headDim, nGroups, dState, chunkSize);
  setMamba3Sizes(c, nRanks, nAngles, angleHeads);
  layOut(c, scratch, min(nHeads, count));
  c.y = y; c.lastAngle = lastAngle; c.lastState = lastState; c.lastB = lastB; c.lastX = lastX;
  c.x = x; c.dt = dt; c.A = A; c.trap = trap; c.B = B; c.C = C; c.angles = angles;
  c.BBias = BBias; c.CBias = CBias; c.D = D; c.mimoX = mimoX; c.dtBias = dtBias;
  c.initialAngle = initialAngle; c.initialState = initialState; c.initialB = initialB; c.initialX = initialX;
  c.half = half; c.dtSoftplus = dtSoftplus; c.aFloor = aFloor;
  for (let item = first / nHeads, h0 = first % nHeads; count > 0; item++, h0 = 0) {
    setHeads(c, h0, min(nHeads - h0, count));
    count -= c.heads;
    for (let t = 0; t < seqLen; t += c.chunk) {
      for (let i = 0; i < c.heads; i++) chunkForward(c, item, t, i);
    }
  }
}

/** The chunk from step t on, of one head: the i-th of those that are computed together. */
function chunkForward(c: ForwardCall, item: usize, t: i32, i: i32): void {
  const length = min(c.chunk, c.seqLen - t);
  const isEnd = t + length == c.seqLen;
  const token = item * c.seqLen + t;
  const head = c.firstHead + i;
  const index = item * c.nHeads + head;
  const h = c.states8 + <usize>i * c.packedBytes;
  const hasState = t > 0 || hasInitial(c);
  c.head = head;
  c.length = length * c.nRanks;
  c.angle = c.anglesOfHeads + <usize>i * c.angleRow * 2;
  headSteps(c, token, head, isEnd ? length : length + 1);
  stepWeights(c, length, isEnd);
  if (t == 0) {
    startAngles(c, c.initialAngle == 0 ? 0 : c.initialAngle + index * c.nAngles * 4);
    if (hasState) startState(c, h, item, head);
  }
  if (i == 0 || c.angleHeads > 1) headTurns(c, c.turns, token, head, length);
  headAngles(c, length);
  headRows(c, token, head, length, c.cosines, c.sines, true);
  rowsOfSteps(c, 0, length);
  chunkDecays(c.s, c.fromStart, c.toEnd, c.whole, c.stepOfRow, c.rateOfRow, 4, c.length);
  weightEnds(c, c.length);
  const xAt = token * c.xRow + <usize>head * c.headBytes;
  headInputs(c, xAt, head, length);
  headOutputs(c, h, token * c.outRow + <usize>head * c.headOut, hasState);
  moveState(c, h, hasState);
  if (!isEnd) return;
  const kept = c.lastB + keptAt(c, item, head);
  for (let r: usize = 0; r < <usize>c.nRanks; r++) {
    const row = <usize>(c.length - c.nRanks) + r;
    memory.copy(kept + r * keptStep(c), c.Bs + row * c.stateRow, <usize>c.dState * 4);
  }
  storeAngles(c, c.lastAngle + index * c.nAngles * 4);
  unpackState(c.lastState + index * c.stateBytes, h, c.headDim, c.dState);
  memory.copy(c.lastX + index * c.headBytes, c.x + xAt + <usize>(length - 1) * c.xRow, c.headBytes);
}

/** y of one head, `at` bytes from its start. */
// prettier-ignore
function headOutputs(c: ForwardCall, h: usize, at: usize, hasState: bool): void {
  const rows = c.length;
  const dState = c.dState;
  const rowBytes = c.rowBytes;
  const right = <usize>dState * RIGHT_STEP;
  packPanels(c.cDeep, c.deepPanel, ROWS, c.Cs, c.stateRow, 4, rows, dState);
  packPanels(c.bRight, right, COLUMNS, c.Bs, c.stateRow, 4, rows, dState);
  multiplyPairs(c.pairs, c.pairRow, rows, c.cDeep, c.deepPanel, c.bRight, right, dState, c.nRanks);
  weighted(c.S, c.pairs, c.s, c.ownOfRow, c.weightOfRow, rows, c.nRanks, c.padded);
  packPanels(c.sLeft, <usize>rows * LEFT_STEP, ROWS, c.S, c.pairRow, 4, rows, rows);
  packInputs(c, c.vRight, rows);
  if (hasState) {
    multiply(c.Y, rowBytes, RIGHT_STEP, rows, c.channels, c.cDeep, c.deepPanel, h, c.panelBytes, dState, 0, 0);
  }
  const scale = hasState ? c.fromStart : 0;
  const scaleStep = hasState ? LEFT_STEP : 0;
  multiplyTriangle(
    c.Y, rowBytes, rows, c.channels, c.sLeft, c.vRight, scale, scaleStep, LOWER_LEFT, c.nRanks,
  );
  const D = c.D == 0 ? 0 : c.D + <usize>c.head * 4;
  let Y = c.Y;
  let v = c.v;
  for (let step = 0; step < rows; step += c.nRanks, at += c.outRow) {
    for (let r: usize = 0; r < <usize>c.nRanks; r++, Y += rowBytes, v += c.vRow) {
      storeOutput(c.y + at + r * c.headBytes, Y, v, D, c.headDim);
    }
  }
}

/** y = Y + D v on one row; D may be absent. */
function storeOutput(y: usize, Y: usize, v: usize, D: usize, size: i32): void {
  if (D == 0) {
    copyRow(y, Y, size);
    return;
  }
  const skip = v128.load32_splat(D);
  for (; size >= 4; size -= 4, y += 16, Y += 16, v += 16) {
    v128.store(y, madd(skip, v128.load(v), v128.load(Y)));
  }
  storeTail(y, madd(skip, loadTail(v, size), loadTail(Y, size)), size);
}

/** H = exp(s_end) H + sum_j exp(s_end - s[j]) w[j] B'[j] v[j]^T */
// prettier-ignore
function moveState(c: ForwardCall, h: usize, hasState: bool): void {
  const rows = c.length;
  const vPanel = <usize>rows * RIGHT_STEP;
  const bPanel = <usize>rows * LEFT_STEP;
  packPanels(c.bDown, bPanel, ROWS, c.Bs, 4, c.stateRow, c.dState, rows);
  scalePanels(c.vRight, vPanel, rows, c.channels, c.toEndWeighted, 4);
  multiply(
    h, RIGHT_STEP, c.panelBytes, c.states, c.channels, c.bDown, bPanel, c.vRight, vPanel, rows,
    hasState ? c.whole : 0, 0,
  );
}
