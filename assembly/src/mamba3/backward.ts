/**
 * Gradients of the chunked form, with H, w, s, S and the rows of mamba3.ts.
 *
 * Of each head: forward over the chunks, keeping H at each chunk's start (h0), then backward, dh being the gradient of H at
 * the chunk's end. With g = dy, M[i][j] = g[i].v[j], E[i][j] = exp(s[i] - s[j]), W[i][j] = w[j], but l dt within a step, and
 * e[j] = exp(s_end - s[j]) w[j]:
 *
 *   dv  = S^T g + diag(e) B' dh^T + D g          dB' = (E W M)^T C' + diag(e) v dh
 *   dC' = (E W M) B' + diag(exp(s)) g h0         dh <- exp(s_end) dh + sum_i exp(s[i]) g[i]^T C'[i]
 *
 * The gradient of w[t] is that of l[t] dt[t] and of (1 - l[t+1]) dt[t+1]. Those of the angles are summed up from the end.
 *
 * A call is made of phases, each of units that do not depend on each other:
 *
 *   HEADS  all gradients of a bundle of heads of a group; what heads share is summed up over the bundle
 *   PARTS  dB, dC and dangles of a step, from the sums of the bundles
 *   SUMS   gradients of the parameters of a head, from its sums of all items of the batch
 */
import { addRow } from '../matrix/rows';
import { scratchEnd } from '../matrix/scratch';
import { setSizes } from '../ssd/call';
import { addDecays } from '../ssd/decay-gradients';
import { packState, unpackState } from '../ssd/panels';
import { BackwardCall, layOut, layOutShared } from './backward-call';
import {
  gradientOfState,
  gradientsOfInputs,
  gradientsOfPairs,
  gradientsOfReads,
  gradientsOfWrites,
  nextState,
  openChunk,
  openGradients,
} from './backward-chunk';
import {
  addChunkSums,
  addTo,
  finishHead,
  finishInputs,
  finishRows,
  finishWeights,
  gradientsOfInitial,
  gradientsOfLast,
} from './backward-steps';
import { setMamba3Sizes } from './call';
import { headAngles, headTurns, startAngles } from './rotation';
import { carriesInput, hasInitial, keptAt, keptStep, startState } from './rows';
import { headSteps, stepWeights } from './steps';

/** Where a call is laid out of which only the size is asked. */
const nowhere: usize = memory.data(offsetof<BackwardCall>());

const HEADS: i32 = 0;
const PARTS: i32 = 1;

/** Bytes of scratch memory. */
// prettier-ignore
export function mamba3ChunkedBackwardScratchBytes(
  seqLen: i32, headDim: i32, nRanks: i32, dState: i32, nAngles: i32, chunkSize: i32,
): f64 {
  const c = changetype<BackwardCall>(nowhere);
  setSizes(c, seqLen, 1, headDim, 1, dState, chunkSize);
  setMamba3Sizes(c, nRanks, nAngles, 1);
  layOut(c, 0);
  return scratchEnd();
}

/** Bytes of memory that the phases share, with so many bundles per group. */
// prettier-ignore
export function mamba3ChunkedBackwardSharedBytes(
  batch: i32, seqLen: i32, nHeads: i32, headDim: i32, nRanks: i32, nGroups: i32, dState: i32, nAngles: i32,
  angleHeads: i32, bundles: i32,
): f64 {
  const c = changetype<BackwardCall>(nowhere);
  setSizes(c, seqLen, nHeads, headDim, nGroups, dState, 1);
  setMamba3Sizes(c, nRanks, nAngles, angleHeads);
  return layOutShared(c, 0, batch, bundles);
}

/**
 * One phase. What comes from upstream may be 0. Gradients of inputs that are 0 are not written. Units are, in this order
 * of counting, item, group and bundle; item and step; head.
 */
// prettier-ignore
export function mamba3ChunkedBackward(
  dx: usize, ddt: usize, dA: usize, dtrap: usize, dB: usize, dC: usize, dangles: usize,
  dBBias: usize, dCBias: usize, dD: usize, dMimoX: usize, dDtBias: usize,
  dInitialAngle: usize, dInitialState: usize, dInitialB: usize, dInitialX: usize,
  dy: usize, dLastAngle: usize, dLastState: usize, dLastB: usize, dLastX: usize,
  x: usize, dt: usize, A: usize, trap: usize, B: usize, C: usize, angles: usize,
  BBias: usize, CBias: usize, D: usize, mimoX: usize, dtBias: usize,
  initialAngle: usize, initialState: usize, initialB: usize, initialX: usize,
  batch: i32, seqLen: i32,
  nHeads: i32, headDim: i32, nRanks: i32, nGroups: i32, dState: i32, nAngles: i32, angleHeads: i32,
  half: i32, dtSoftplus: i32, aFloor: f32, chunkSize: i32,
  shared: usize, bundleHeads: i32, phase: i32, scratch: usize, first: i32, count: i32,
): void {
  const c = changetype<BackwardCall>(scratch);
  setSizes(c, seqLen, nHeads, headDim, nGroups, dState, chunkSize);
  setMamba3Sizes(c, nRanks, nAngles, angleHeads);
  layOut(c, scratch);
  c.bundleHeads = bundleHeads;
  layOutShared(c, shared, batch, (nHeads / nGroups + bundleHeads - 1) / bundleHeads);
  c.dx = dx; c.ddt = ddt; c.dA = dA; c.dtrap = dtrap; c.dB = dB; c.dC = dC; c.dangles = dangles;
  c.dInitialAngle = dInitialAngle; c.dInitialState = dInitialState; c.dInitialB = dInitialB; c.dInitialX = dInitialX;
  c.dy = dy; c.dLastAngle = dLastAngle; c.dLastState = dLastState; c.dLastB = dLastB; c.dLastX = dLastX;
  c.x = x; c.dt = dt; c.A = A; c.trap = trap; c.B = B; c.C = C; c.angles = angles;
  c.BBias = BBias; c.CBias = CBias; c.D = D; c.mimoX = mimoX; c.dtBias = dtBias;
  c.initialAngle = initialAngle; c.initialState = initialState; c.initialB = initialB; c.initialX = initialX;
  c.half = half; c.dtSoftplus = dtSoftplus; c.aFloor = aFloor;
  for (const end = first + count; first < end; first++) {
    if (phase == HEADS) bundleGradients(c, first);
    else if (phase == PARTS) addParts(c, first);
    else headSums(c, batch, first, dBBias, dCBias, dD, dMimoX, dDtBias);
  }
}

/** All gradients of a bundle of heads, counted over items, groups and bundles. */
function bundleGradients(c: BackwardCall, unit: i32): void {
  const headsOfGroup = c.nHeads / c.nGroups;
  const bundle = unit % c.bundles;
  const group = (unit / c.bundles) % c.nGroups;
  const within = bundle * c.bundleHeads;
  c.item = <usize>(unit / (c.bundles * c.nGroups));
  c.ownB = bundle == 0 ? c.dB : c.partsOfB + <usize>(bundle - 1) * c.bytesOfB;
  c.ownC = bundle == 0 ? c.dC : c.partsOfC + <usize>(bundle - 1) * c.bytesOfB;
  c.ownAngles = c.dangles;
  const ofItem = unit % (c.bundles * c.nGroups);
  if (c.angleHeads == 1 && ofItem > 0) c.ownAngles = c.partsOfAngles + <usize>(ofItem - 1) * c.bytesOfAngles;
  c.firstHead = group * headsOfGroup + within;
  c.heads = min(c.bundleHeads, headsOfGroup - within);
  for (let i = 0; i < c.heads; i++) headGradients(c, c.firstHead + i);
}

/** All gradients of a head, except those of parameters, for which it leaves sums. */
function headGradients(c: BackwardCall, head: i32): void {
  const index = c.item * c.nHeads + head;
  const token = c.item * c.seqLen;
  c.head = head;
  c.index = index;
  c.sumsAt = c.sums + index * c.sumsRow;
  c.firstGradient = 0;
  memory.fill(c.sumsAt, 0, c.sumsRow);
  headSteps(c, token, head, c.seqLen);
  stepWeights(c, c.seqLen, true);
  if (c.angleHeads > 1 || head == c.firstHead) headTurns(c, c.turns, token, head, c.seqLen);
  startAngles(c, c.initialAngle == 0 ? 0 : c.initialAngle + index * c.nAngles * 4);
  headAngles(c, c.seqLen);
  if (hasInitial(c)) startState(c, c.h, c.item, head);
  else memory.fill(c.h, 0, c.packedBytes);
  for (let chunk = 0; chunk + 1 < c.chunks; chunk++) {
    openChunk(c, chunk, false);
    nextState(c, chunk > 0 || hasInitial(c));
  }
  if (c.dLastState != 0) packState(c.dh, c.dLastState + index * c.stateBytes, c.headDim, c.dState);
  for (let s: usize = 0; s < c.angleRow; s += 4) {
    const isThere = c.dLastAngle != 0 && s < <usize>c.nAngles * 4;
    const given = c.dLastAngle + index * c.nAngles * 4 + s;
    store<f64>(c.angleGradient + s * 2, isThere ? <f64>load<f32>(given) : 0);
  }
  for (let chunk = c.chunks - 1; chunk >= 0; chunk--) chunkGradients(c, chunk);
  initialGradients(c);
  finishHead(c);
}

function chunkGradients(c: BackwardCall, chunk: i32): void {
  memory.fill(c.chunkSums, 0, c.sumsRow);
  openChunk(c, chunk, true);
  openGradients(c);
  gradientsOfPairs(c);
  gradientsOfInputs(c);
  finishInputs(c);
  const carried = gradientsOfReads(c);
  gradientsOfWrites(c);
  if (chunk == c.chunks - 1) gradientsOfLast(c);
  addDecays(c.change, c.toLater, c.toState, carried, c.length);
  finishWeights(c);
  finishRows(c);
  addChunkSums(c);
  if (chunk > 0 || hasInitial(c)) gradientOfState(c);
}

/** Gradients of what goes on from an earlier sequence. */
function initialGradients(c: BackwardCall): void {
  if (c.dInitialAngle != 0) {
    const out = c.dInitialAngle + c.index * c.nAngles * 4;
    for (let s: usize = 0; s < <usize>c.nAngles; s++) {
      store<f32>(out + (s << 2), <f32>load<f64>(c.angleGradient + (s << 3)));
    }
  }
  if (c.dInitialX != 0) memory.fill(c.dInitialX + c.index * c.headBytes, 0, c.headBytes);
  if (c.dInitialB != 0) {
    let at = c.dInitialB + keptAt(c, c.item, c.head);
    for (let r = 0; r < c.nRanks; r++, at += keptStep(c)) memory.fill(at, 0, <usize>c.dState * 4);
  }
  if (!hasInitial(c)) return;
  const plain = c.initialState == 0 ? c.plain : c.dInitialState + c.index * c.stateBytes;
  unpackState(plain, c.dh, c.headDim, c.dState);
  if (carriesInput(c)) gradientsOfInitial(c, plain);
}

/** dB and dC of a step, and dangles if heads share them: the other bundles' are added to the first one's. */
function addParts(c: BackwardCall, token: i32): void {
  const at = <usize>token * c.stepOfB;
  const size = c.nRanks * c.nGroups * c.dState;
  for (let bundle = 1; bundle < c.bundles; bundle++) {
    const part = at + <usize>(bundle - 1) * c.bytesOfB;
    addTo(c.dB + at, c.partsOfB + part, size);
    addTo(c.dC + at, c.partsOfC + part, size);
  }
  if (c.angleHeads != 1) return;
  const anglesAt = <usize>token * c.angleStep;
  for (let unit = 1; unit < c.bundles * c.nGroups; unit++) {
    addTo(c.dangles + anglesAt, c.partsOfAngles + anglesAt + <usize>(unit - 1) * c.bytesOfAngles, c.nAngles);
  }
}

/** Gradients of the parameters of a head: sums over the batch. */
// prettier-ignore
function headSums(
  c: BackwardCall, batch: i32, head: i32, dBBias: usize, dCBias: usize, dD: usize, dMimoX: usize, dDtBias: usize,
): void {
  const total = c.chunkSums;
  const doubles = total + c.doubleSums;
  memory.fill(total, 0, c.sumsRow);
  for (let item = 0; item < batch; item++) {
    const own = c.sums + <usize>(item * c.nHeads + head) * c.sumsRow;
    addRow(total, own, <i32>(c.doubleSums >> 2));
    store<f64>(doubles, load<f64>(doubles) + load<f64>(own + c.doubleSums));
    store<f64>(doubles, load<f64>(doubles, 8) + load<f64>(own + c.doubleSums, 8), 8);
  }
  const row = <usize>c.dState * 4;
  for (let r: usize = 0; r < <usize>c.nRanks; r++) {
    const rank = <usize>(head * c.nRanks) + r;
    if (dBBias != 0) memory.copy(dBBias + rank * row, total + c.BSums + r * c.stateRow, row);
    if (dCBias != 0) memory.copy(dCBias + rank * row, total + c.CSums + r * c.stateRow, row);
    if (dMimoX != 0) {
      memory.copy(dMimoX + rank * c.headBytes, total + c.mixSums + r * c.rowBytes, c.headBytes);
    }
  }
  const at = (<usize>head) << 2;
  if (dD != 0) store<f32>(dD + at, <f32>load<f64>(doubles));
  if (dDtBias != 0) store<f32>(dDtBias + at, <f32>load<f64>(doubles, 8));
}
