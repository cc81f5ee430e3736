/** The chunked form, forward: see ssd.ts. */
import { packPanels, scalePanels } from '../matrix/panels';
import { roundUpLarge } from '../matrix/rows';
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { COLUMNS } from '../matrix/tile';
import { Call, groupOf, headSteps, paddedStepsLarge, setHeads, setSizes, skipOf } from './call';
import { chunkDecays, decayed, gatherSteps } from './decays';
import { packState, unpackState } from './panels';
import {
  LEFT_STEP,
  LOWER_LEFT,
  multiply,
  multiplyPairs,
  multiplyTriangle,
  RIGHT_STEP,
  ROWS,
} from './products';
import { addSkip, gate } from './rows';

@unmanaged
class ForwardCall extends Call {
  y: usize;
  /** Heads are computed in pieces of so many channels, which follow each other as heads do; `headDim` is that of one. */
  pieces: i32;
  // Of a group, over a chunk: rows of C and B down and across, and C B^T.
  cDeep: usize;
  bRight: usize;
  bDown: usize;
  pairs: usize;
  // Of a head: S, S packed, X packed, the output before the gate; its state is one of all heads'.
  S: usize;
  sLeft: usize;
  xRight: usize;
  Y: usize;
  states8: usize;
}

function layOut(c: ForwardCall, scratch: usize, heads: i32): void {
  const chunk = min(c.chunk, c.seqLen);
  const padded = paddedStepsLarge(chunk);
  const channels = roundUpLarge(<f64>c.headDim, COLUMNS);
  const states = roundUpLarge(<f64>c.dState, ROWS);
  startScratch(scratch, offsetof<ForwardCall>());
  c.cDeep = takeFloats(padded * <f64>c.dState);
  c.bDown = takeFloats(padded * states);
  c.bRight = takeFloats(padded * <f64>c.dState);
  c.pairs = takeFloats(padded * padded);
  c.S = takeFloats(padded * padded);
  c.sLeft = takeFloats(padded * padded);
  c.xRight = takeFloats(padded * channels);
  c.Y = takeFloats(padded * channels);
  c.s = takeFloats(2 * padded);
  c.fromStart = takeFloats(padded);
  c.toEnd = takeFloats(padded);
  c.whole = takeFloats(8);
  c.states8 = takeFloats(states * channels * <f64>heads);
  c.steps = takeFloats(<f64>chunk * <f64>heads);
  c.stepOfHead = takeFloats(<f64>chunk);
}

/** Where a call is laid out of which only the size is asked. */
const nowhere: usize = memory.data(offsetof<ForwardCall>());

/** Bytes of scratch memory for so many pieces of heads of one item of the batch; `headDim` is that of a piece. */
// prettier-ignore
export function ssdChunkedForwardScratchBytes(
  seqLen: i32, nHeads: i32, headDim: i32, dState: i32, chunkSize: i32,
): f64 {
  const c = changetype<ForwardCall>(nowhere);
  setSizes(c, seqLen, nHeads, headDim, 1, dState, chunkSize);
  layOut(c, 0, nHeads);
  return scratchEnd();
}

/** Units are pieces of heads, counted over the batch: `pieces` of each head, of whole panels of channels if more than 1. */
// prettier-ignore
export function ssdChunkedForward(
  y: usize, lastState: usize,
  x: usize, dt: usize, A: usize, B: usize, C: usize, D: usize, z: usize, dtBias: usize, initialState: usize,
  seqLen: i32, nHeads: i32, headDim: i32, nGroups: i32, dState: i32, chunkSize: i32,
  skipByChannel: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32,
  pieces: i32, scratch: usize, first: i32, count: i32,
): void {
  const c = changetype<ForwardCall>(scratch);
  const most = nHeads * pieces;
  const width = headDim / pieces;
  setSizes(c, seqLen, nHeads, width, nGroups, dState, chunkSize);
  c.pieces = pieces;
  c.xRow = c.headRow * headDim;
  layOut(c, scratch, min(most, count));
  c.y = y;
  c.x = x; c.dt = dt; c.A = A; c.B = B; c.C = C; c.D = D; c.z = z; c.dtBias = dtBias; c.initialState = initialState;
  c.skipByChannel = skipByChannel; c.dtSoftplus = dtSoftplus; c.dtMin = dtMin; c.dtMax = dtMax;
  for (let b = first / most, from = first % most; count > 0; b++, from = 0) {
    const end = min(most, from + count);
    count -= end - from;
    setHeads(c, from / pieces, (end - 1) / pieces - from / pieces + 1);
    for (let t = 0; t < seqLen; t += c.chunk) chunkForward(c, b, t, from, end);
    for (let i = 0; i < end - from; i++, first++) {
      unpackState(lastState + <usize>first * c.stateBytes, c.states8 + <usize>i * c.packedBytes, width, dState);
    }
  }
}

/** A chunk of the pieces `from` to `end` of an item's heads. */
function chunkForward(c: ForwardCall, b: i32, t: i32, from: i32, end: i32): void {
  const length = min(c.chunk, c.seqLen - t);
  const token = <usize>b * c.seqLen + t;
  const hasState = t > 0 || c.initialState != 0;
  c.length = length;
  headSteps(c, c.steps, token, length);
  const headsOfGroup = c.nHeads / c.nGroups;
  for (let piece = from; piece < end; piece++) {
    const head = piece / c.pieces;
    const h = c.states8 + <usize>(piece - from) * c.packedBytes;
    if (piece == from || piece % (c.pieces * headsOfGroup) == 0)
      packGroup(c, token * c.groupRow + <usize>groupOf(c, head) * c.dState * 4);
    if (t == 0 && c.initialState != 0) {
      const index = <usize>b * c.nHeads * c.pieces + piece;
      packState(h, c.initialState + index * c.stateBytes, c.headDim, c.dState);
    }
    c.head = head;
    headOutputs(c, h, token * c.xRow + <usize>piece * c.headBytes, piece, hasState);
    moveState(c, h, hasState);
  }
  if (c.z == 0) return;
  // All heads at once: rows of a whole chunk are one stream to the prefetcher (5 -> 1 ms at 24 x 64 x 1024).
  const at = token * c.xRow + <usize>from * c.headBytes;
  const row = (end - from) * c.headDim;
  if (<usize>row * 4 == c.xRow) gate(c.y + at, c.z + at, length * row);
  else for (let i: usize = 0; i < <usize>length; i++) gate(c.y + at + i * c.xRow, c.z + at + i * c.xRow, row);
}

/** B and C of a group, `at` bytes from their start, in panels, and C B^T. */
function packGroup(c: ForwardCall, at: usize): void {
  const length = c.length;
  const dState = c.dState;
  const right = <usize>dState * RIGHT_STEP;
  packPanels(c.cDeep, c.deepPanel, ROWS, c.C + at, c.groupRow, 4, length, dState);
  packPanels(c.bRight, right, COLUMNS, c.B + at, c.groupRow, 4, length, dState);
  packPanels(c.bDown, <usize>length * LEFT_STEP, ROWS, c.B + at, 4, c.groupRow, dState, length);
  multiplyPairs(c.pairs, c.pairRow, length, c.cDeep, c.deepPanel, c.bRight, right, dState, 1);
}

/** y of a piece of a head, `at` bytes from the start of x, before the gate. */
// prettier-ignore
function headOutputs(c: ForwardCall, h: usize, at: usize, piece: i32, hasState: bool): void {
  const length = c.length;
  const rowBytes = c.rowBytes;
  const xPanel = <usize>length * RIGHT_STEP;
  gatherSteps(c.stepOfHead, c.steps + <usize>(c.head - c.firstHead) * 4, c.stepRow, length);
  chunkDecays(c.s, c.fromStart, c.toEnd, c.whole, c.stepOfHead, c.A + <usize>c.head * 4, 0, length);
  packPanels(c.xRight, xPanel, COLUMNS, c.x + at, 4, c.xRow, c.headDim, length);
  scalePanels(c.xRight, xPanel, length, c.channels, c.stepOfHead, 4);
  decayed(c.S, c.pairs, c.s, length, c.padded);
  packPanels(c.sLeft, <usize>length * LEFT_STEP, ROWS, c.S, c.pairRow, 4, length, length);
  if (hasState) {
    multiply(
      c.Y, rowBytes, RIGHT_STEP, length, c.channels, c.cDeep, c.deepPanel, h, c.panelBytes, c.dState, 0, 0,
    );
  }
  const scale = hasState ? c.fromStart : 0;
  const scaleStep = hasState ? LEFT_STEP : 0;
  multiplyTriangle(c.Y, rowBytes, length, c.channels, c.sLeft, c.xRight, scale, scaleStep, LOWER_LEFT, 1);
  const D = skipOf(c, c.skipByChannel ? piece : c.head);
  for (let i: usize = 0; i < <usize>length; i++) {
    const row = at + i * c.xRow;
    const Y = c.Y + i * rowBytes;
    if (D != 0) addSkip(Y, c.x + row, D, c.headDim, c.skipByChannel);
    memory.copy(c.y + row, Y, c.headBytes);
  }
}

/** h = exp(s_end) h + sum_j exp(s_end - s[j]) B[j] X[j]^T */
// prettier-ignore
function moveState(c: ForwardCall, h: usize, hasState: bool): void {
  const length = c.length;
  const xPanel = <usize>length * RIGHT_STEP;
  scalePanels(c.xRight, xPanel, length, c.channels, c.toEnd, 4);
  multiply(
    h, RIGHT_STEP, c.panelBytes, c.states, c.channels, c.bDown, <usize>length * LEFT_STEP, c.xRight, xPanel, length,
    hasState ? c.whole : 0, 0,
  );
}
