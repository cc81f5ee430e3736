/**
 * Gradients of the chunked form.
 *
 * Of each head: forward over the chunks, keeping the state at each chunk's start (h0), then backward, dh being the
 * gradient of the state at the chunk's end. With g = dy silu(z), X, S and s as in ssd.ts, and
 * M[i][j] = g[i].X[j], E[i][j] = exp(s[i] - s[j]):
 *
 *   dX = S^T g    + diag(exp(s_end - s)) B dh          dB = (E M)^T C + diag(exp(s_end - s)) X dh^T
 *   dC = (E M) B  + diag(exp(s)) g h0^T                dh <- exp(s_end) dh + sum_i exp(s[i]) C[i] g[i]^T
 *
 * E M is summed over the heads of a group before it meets B and C. The log decay of step t acts on every pair
 * j < t <= i: on those within the chunk, on what h0 gives to outputs from t on, on what inputs before t give to the
 * end, and on h0 in the end.
 *
 * A call is made of phases, each of units that do not depend on each other:
 *
 *   PACK    B and C of a group and chunk in panels, and C B^T, for all heads of the group
 *   HEADS   all gradients of a bundle of heads of a group, except those of B and C, for which it leaves sums
 *   GROUPS  dB and dC of a group and chunk, from the sums of its bundles
 *   SUMS    dA, dD and dDtBias of a head, from its sums of all items of the batch
 *
 * The first three are repeated for so many items of the batch at a time as memory is laid out for.
 */
import { packPanels, scalePanels } from '../matrix/panels';
import { addRow, dotPadded } from '../matrix/rows';
import { scratchEnd } from '../matrix/scratch';
import { COLUMNS } from '../matrix/tile';
import { sum } from '../simd';
import { BackwardCall, groupChunkAt, layOut, layOutShared, lengthOf, openGroup } from './backward-call';
import { groupGradients, packGroup } from './backward-groups';
import { headSteps, setHeads, setSizes, skipOf } from './call';
import { addDecays, decayGradients, stepGradients } from './decay-gradients';
import { chunkDecays, gatherSteps } from './decays';
import { packState, transposeState, unpackState } from './panels';
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

/** Where a call is laid out of which only the size is asked. */
const nowhere: usize = memory.data(offsetof<BackwardCall>());

const PACK: i32 = 0;
const HEADS: i32 = 1;
const GROUPS: i32 = 2;

/** Bytes of scratch memory, with bundles of so many heads. */
// prettier-ignore
export function ssdChunkedBackwardScratchBytes(
  seqLen: i32, bundleHeads: i32, headDim: i32, dState: i32, chunkSize: i32,
): f64 {
  const c = changetype<BackwardCall>(nowhere);
  setSizes(c, seqLen, 1, headDim, 1, dState, chunkSize);
  layOut(c, 0, bundleHeads);
  return scratchEnd();
}

/**
 * Bytes of memory that the phases share: of all heads of the batch, of the groups that are computed at a time, and of
 * their bundles.
 */
// prettier-ignore
export function ssdChunkedBackwardSharedBytes(
  heads: i32, groups: i32, bundles: i32, seqLen: i32, headDim: i32, dState: i32, chunkSize: i32,
): f64 {
  const c = changetype<BackwardCall>(nowhere);
  setSizes(c, seqLen, 1, headDim, 1, dState, chunkSize);
  return layOutShared(c, 0, heads, groups, bundles);
}

/**
 * One phase, for `items` items of the batch from `firstItem` on. dy and dLastState may be 0. Gradients of inputs that
 * are 0 are not written. Units are, in this order of counting, item, group and chunk; item, group and bundle; item,
 * group and chunk; head.
 */
// prettier-ignore
export function ssdChunkedBackward(
  dx: usize, ddt: usize, dA: usize, dB: usize, dC: usize, dD: usize, dz: usize, dDtBias: usize, dInitialState: usize,
  dy: usize, dLastState: usize,
  x: usize, dt: usize, A: usize, B: usize, C: usize, D: usize, z: usize, dtBias: usize, initialState: usize,
  batch: i32, seqLen: i32, nHeads: i32, headDim: i32, nGroups: i32, dState: i32, chunkSize: i32,
  skipByChannel: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32,
  shared: usize, items: i32, bundleHeads: i32, firstItem: i32, phase: i32, scratch: usize, first: i32, count: i32,
): void {
  const c = changetype<BackwardCall>(scratch);
  setSizes(c, seqLen, nHeads, headDim, nGroups, dState, chunkSize);
  layOut(c, scratch, bundleHeads);
  c.bundleHeads = bundleHeads;
  c.bundles = (nHeads / nGroups + bundleHeads - 1) / bundleHeads;
  layOutShared(c, shared, batch * nHeads, items * nGroups, items * nGroups * c.bundles);
  c.dx = dx; c.ddt = ddt; c.dB = dB; c.dC = dC; c.dD = dD; c.dz = dz; c.dInitialState = dInitialState;
  c.dy = dy; c.dLastState = dLastState;
  c.x = x; c.dt = dt; c.A = A; c.B = B; c.C = C; c.D = D; c.z = z; c.dtBias = dtBias; c.initialState = initialState;
  c.skipByChannel = skipByChannel; c.dtSoftplus = dtSoftplus; c.dtMin = dtMin; c.dtMax = dtMax;
  c.firstItem = <usize>firstItem;
  for (const end = first + count; first < end; first++) {
    if (phase == HEADS) {
      openGroup(c, first / c.bundles, first % c.bundles);
      bundleGradients(c, first / c.bundles % nGroups, first % c.bundles);
    } else if (phase == PACK || phase == GROUPS) {
      openGroup(c, first / c.chunks, 0);
      if (phase == PACK) packGroup(c, first % c.chunks);
      else groupGradients(c, first % c.chunks);
    } else headSums(c, dA, dD, dDtBias, batch, first);
  }
}

/** All gradients of a bundle of heads, and its sums. */
// prettier-ignore
function bundleGradients(c: BackwardCall, group: i32, bundle: i32): void {
  const headsOfGroup = c.nHeads / c.nGroups;
  const within = bundle * c.bundleHeads;
  setHeads(c, group * headsOfGroup + within, min(c.bundleHeads, headsOfGroup - within));
  headSteps(c, c.sequence, c.seqLen);
  memory.fill(c.T, 0, c.bytesOfPart);
  for (let head = c.firstHead; head < c.firstHead + c.heads; head++) headGradients(c, head);
  const at = c.sequence * c.headRow + <usize>c.firstHead * 4;
  stepGradients(
    c.ddt + at, c.stepSums + ((c.firstState + c.firstHead) << 3), c.dt + at,
    c.dtBias == 0 ? 0 : c.dtBias + <usize>c.firstHead * 4,
    c.seqLen, c.heads, c.headRow, c.dtSoftplus, c.dtMin, c.dtMax,
  );
}

/** All gradients of a head, but those of B and C within chunks, which are a group's. */
function headGradients(c: BackwardCall, head: i32): void {
  const stateAt = (c.firstState + <usize>head) * c.stateBytes;
  c.head = head;
  c.headAt = c.sequence * c.xRow + <usize>head * c.headBytes;
  c.rate = load<f32>(c.A + <usize>head * 4);
  store<f64>(c.slopes + ((c.firstState + head) << 3), 0);
  memory.fill(c.skips + (c.firstState + head) * c.rowBytes, 0, c.rowBytes);
  if (c.initialState != 0) packState(c.h, c.initialState + stateAt, c.headDim, c.dState);
  else memory.fill(c.h, 0, c.packedBytes);
  for (let index = 0; index + 1 < c.chunks; index++) nextState(c, index);
  if (c.dLastState != 0) packState(c.dh, c.dLastState + stateAt, c.headDim, c.dState);
  for (let index = c.chunks - 1; index >= 0; index--) {
    openChunk(c, index);
    gradientsOfPairs(c);
    if (c.z != 0 && c.dy != 0) gradientsOfGate(c);
    gradientsOfInputs(c);
    const carried = gradientsOfReads(c);
    addDecays(c.change, c.toLater, c.toState, carried, c.length);
    finishSteps(c);
    if (c.hasGradient) gradientsOfWrites(c);
    if (index > 0 || c.dInitialState != 0) gradientOfState(c);
  }
  if (c.dInitialState != 0) unpackState(c.dInitialState + stateAt, c.dh, c.headDim, c.dState);
}

/** Decays of the head over a chunk. */
function headDecays(c: BackwardCall, index: i32, length: i32): void {
  const steps = c.steps + <usize>(index * c.chunk) * c.stepRow + <usize>(c.head - c.firstHead) * 4;
  gatherSteps(c.stepOfHead, steps, c.stepRow, length);
  chunkDecays(c.s, c.fromStart, c.toEnd, c.whole, c.stepOfHead, c.rate, length);
}

/** The state at the end of a whole chunk, which is that at the start of the next. */
// prettier-ignore
function nextState(c: BackwardCall, index: i32): void {
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

/** Decays, X and g of a chunk, and the gradient of z but for what is gated. */
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
  memory.fill(c.toLater, 0, <usize>c.padded * 8);
  memory.fill(c.toState, 0, <usize>c.padded * 8);
  scaleRows(c.X, c.rowBytes, c.x + at, c.xRow, length, c.headDim, c.stepOfHead);
  if (c.z == 0 || c.dy == 0) {
    scaleRows(c.g, c.rowBytes, c.dy == 0 ? 0 : c.dy + at, c.xRow, length, c.headDim, 0);
  }
  for (let i: usize = 0; c.z != 0 && i < <usize>length; i++) {
    const row = at + i * c.xRow;
    if (c.dy != 0) gateGradient(c.g + i * c.rowBytes, c.dz + row, c.dy + row, c.z + row, c.headDim);
    else memory.fill(c.dz + row, 0, c.headBytes);
  }
  packPanels(c.gLeft, <usize>c.headDim * LEFT_STEP, ROWS, c.g, c.rowBytes, 4, length, c.headDim);
}

/** M = g X^T; from it change, T and S, which takes the place of M. */
function gradientsOfPairs(c: BackwardCall): void {
  const length = c.length;
  const square = <usize>c.index * c.squareBytes;
  const leftPanel = <usize>c.headDim * LEFT_STEP;
  const rightPanel = <usize>c.headDim * RIGHT_STEP;
  packPanels(c.right, rightPanel, COLUMNS, c.X, c.rowBytes, 4, length, c.headDim);
  multiplyPairs(c.M, c.pairRow, length, c.gLeft, leftPanel, c.right, rightPanel, c.headDim);
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
  multiplyTriangle(c.Y, rowBytes, length, c.channels, c.left, c.right, scale, scaleStep, LOWER_LEFT);
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
  packPanels(c.right, <usize>length * RIGHT_STEP, COLUMNS, c.g, 4, rowBytes, c.headDim, length);
  const scale = c.hasGradient ? c.toEnd : 0;
  const scaleStep = c.hasGradient ? LEFT_STEP : 0;
  multiplyTriangle(c.dX, rowBytes, length, c.channels, c.left, c.right, scale, scaleStep, UPPER_LEFT);
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

/** dx and ddt of each step, the latter as of the step size; and the head's sums for dA and dD. */
// prettier-ignore
function finishSteps(c: BackwardCall): void {
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
  const index = c.firstState + c.head;
  const slopeAt = c.slopes + (index << 3);
  store<f64>(slopeAt, load<f64>(slopeAt) + slope);
  if (c.dD != 0) addRow(c.skips + index * c.rowBytes, c.skip, c.channels);
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
function gradientOfState(c: BackwardCall): void {
  const length = c.length;
  const gPanel = <usize>length * RIGHT_STEP;
  const C = c.cDown + <usize>c.index * c.downBytes;
  scalePanels(c.right, gPanel, length, c.channels, c.fromStart, 4);
  multiply(
    c.dh, RIGHT_STEP, c.panelBytes, c.states, c.channels, C, <usize>length * LEFT_STEP, c.right, gPanel, length,
    c.hasGradient ? c.whole : 0, 0,
  );
}

/** dA, dD and dDtBias of a head: sums over the batch. */
function headSums(c: BackwardCall, dA: usize, dD: usize, dDtBias: usize, batch: i32, head: usize): void {
  let slope: f64 = 0;
  let steps: f64 = 0;
  memory.fill(c.skip, 0, c.rowBytes);
  for (let item: usize = 0; item < <usize>batch; item++) {
    const index = item * c.nHeads + head;
    slope += load<f64>(c.slopes + (index << 3));
    steps += load<f64>(c.stepSums + (index << 3));
    if (dD != 0) addRow(c.skip, c.skips + index * c.rowBytes, c.channels);
  }
  store<f32>(dA + (head << 2), <f32>slope);
  if (dDtBias != 0) store<f32>(dDtBias + (head << 2), <f32>steps);
  if (dD == 0) return;
  if (c.skipByChannel) {
    memory.copy(dD + head * c.headBytes, c.skip, c.headBytes);
    return;
  }
  let total = f32x4.splat(0);
  for (let p: usize = 0; p < c.rowBytes; p += 16) total = f32x4.add(total, v128.load(c.skip + p));
  store<f32>(dD + (head << 2), sum(total));
}
