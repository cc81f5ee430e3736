/** The recurrence as it stands, step by step. */
import { dot, roundUpLarge } from '../matrix/rows';
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { exp, loadTail, madd, storeTail } from '../simd';
import { groupOf, setSizes } from '../ssd/call';
import { Mamba3Call, setMamba3Sizes, takeAngles, takeSteps } from './call';
import { advanceAngles, headTurns, startAngles, storeAngles, turnRow } from './rotation';
import { headSteps, lateOf } from './steps';

/** Steps whose sizes are computed together: a vector. */
const STEPS: i32 = 4;

@unmanaged
class RecurrentCall extends Mamba3Call {
  y: usize;
  lastAngle: usize;
  lastState: usize;
  lastB: usize;
  lastX: usize;
  /** Of a channel, per rank: what the last step's input and this one's are multiplied by. */
  inputs: usize;
}

function layOut(c: RecurrentCall, scratch: usize): void {
  const ranks = <f64>c.nRanks;
  const row = roundUpLarge(<f64>c.dState, 4);
  startScratch(scratch, offsetof<RecurrentCall>());
  takeSteps(c, <f64>STEPS);
  takeAngles(c, 1);
  c.angle = takeFloats(2 * roundUpLarge(<f64>c.nAngles, 4));
  c.Bs = takeFloats(2 * ranks * row); // the last step's, then this one's
  c.Cs = takeFloats(ranks * row);
  c.inputs = takeFloats(2 * ranks);
}

/** Where a call is laid out of which only the size is asked. */
const nowhere: usize = memory.data(offsetof<RecurrentCall>());

/** Bytes of scratch memory. */
export function mamba3RecurrentForwardScratchBytes(nRanks: i32, dState: i32, nAngles: i32): f64 {
  const c = changetype<RecurrentCall>(nowhere);
  setSizes(c, 1, 1, 1, 1, dState, 1);
  setMamba3Sizes(c, nRanks, nAngles, 1);
  layOut(c, 0);
  return scratchEnd();
}

/**
 * Step by step. What goes from one sequence to the next may be changed in place: initialState and lastState may be one,
 * and the others likewise. Units are heads, counted over the batch.
 */
// prettier-ignore
export function mamba3RecurrentForward(
  y: usize, lastAngle: usize, lastState: usize, lastB: usize, lastX: usize,
  x: usize, dt: usize, A: usize, trap: usize, B: usize, C: usize, angles: usize,
  BBias: usize, CBias: usize, D: usize, mimoX: usize, dtBias: usize,
  initialAngle: usize, initialState: usize, initialB: usize, initialX: usize,
  seqLen: i32, nHeads: i32, headDim: i32, nRanks: i32, nGroups: i32, dState: i32, nAngles: i32, angleHeads: i32,
  half: i32, dtSoftplus: i32, aFloor: f32, scratch: usize, first: i32, count: i32,
): void {
  const c = changetype<RecurrentCall>(scratch);
  setSizes(c, seqLen, nHeads, headDim, nGroups, dState, 1);
  setMamba3Sizes(c, nRanks, nAngles, angleHeads);
  layOut(c, scratch);
  c.y = y; c.lastAngle = lastAngle; c.lastState = lastState; c.lastB = lastB; c.lastX = lastX;
  c.x = x; c.dt = dt; c.A = A; c.trap = trap; c.B = B; c.C = C; c.angles = angles;
  c.BBias = BBias; c.CBias = CBias; c.D = D; c.mimoX = mimoX; c.dtBias = dtBias;
  c.initialAngle = initialAngle; c.initialState = initialState; c.initialB = initialB; c.initialX = initialX;
  c.half = half; c.dtSoftplus = dtSoftplus; c.aFloor = aFloor;
  for (const end = first + count; first < end; first++) advanceHead(c, first / nHeads, first % nHeads);
}

function start(last: usize, initial: usize, bytes: usize): void {
  if (initial == 0) memory.fill(last, 0, bytes);
  else if (initial != last) memory.copy(last, initial, bytes);
}

/** All steps of a head of an item of the batch. */
function advanceHead(c: RecurrentCall, item: i32, head: i32): void {
  const index = <usize>(item * c.nHeads + head);
  const h = c.lastState + index * c.stateBytes;
  const lastX = c.lastX + index * c.headBytes;
  const angleAt = index * c.nAngles * 4;
  start(h, c.initialState == 0 ? 0 : c.initialState + index * c.stateBytes, c.stateBytes);
  start(lastX, c.initialX == 0 ? 0 : c.initialX + index * c.headBytes, c.headBytes);
  startAngles(c, c.initialAngle == 0 ? 0 : c.initialAngle + angleAt);
  const rowBytes = <usize>c.dState * 4;
  const rankRows = <usize>c.nHeads * rowBytes; // from one rank of B' to the next
  const keptAt = (<usize>(item * c.nRanks) * c.nHeads + head) * rowBytes;
  for (let r: usize = 0; r < <usize>c.nRanks; r++) {
    const at = keptAt + r * rankRows;
    start(c.Bs + r * c.stateRow, c.initialB == 0 ? 0 : c.initialB + at, rowBytes);
  }
  const token = <usize>item * c.seqLen;
  for (let t = 0; t < c.seqLen; t++) {
    if (t % STEPS == 0) headSteps(c, token + t, head, min(STEPS, c.seqLen - t));
    advance(c, h, lastX, token + t, head, (<usize>(t % STEPS)) << 2);
  }
  storeAngles(c, c.lastAngle + angleAt);
  for (let r: usize = 0; r < <usize>c.nRanks; r++) {
    memory.copy(c.lastB + keptAt + r * rankRows, c.Bs + r * c.stateRow, rowBytes);
  }
}

/** One step of a head; stepAt: bytes into the arrays of step sizes. */
function advance(c: RecurrentCall, h: usize, lastX: usize, token: usize, head: i32, stepAt: usize): void {
  const nRanks = <usize>c.nRanks;
  const dState = c.dState;
  const fresh = c.Bs + nRanks * c.stateRow;
  const step = load<f32>(c.step + stepAt);
  const decay = exp(f32x4.splat(step * load<f32>(c.rate + stepAt)));
  const own = load<f32>(c.own + stepAt);
  const late = lateOf(c, stepAt) * f32x4.extract_lane(decay, 0);
  headTurns(c, c.turns, token, head, 1);
  advanceAngles(c, c.turns, step, c.cosines, c.sines);
  const groupAt = token * c.stepOfB + <usize>(groupOf(c, head) * dState) * 4;
  const biasAt = <usize>(head * c.nRanks * dState) * 4;
  for (let r: usize = 0; r < nRanks; r++) {
    const at = groupAt + r * c.rankRow;
    const bias = biasAt + r * dState * 4;
    turnRow(c, fresh + r * c.stateRow, c.B + at, c.BBias == 0 ? 0 : c.BBias + bias, c.cosines, c.sines);
    turnRow(c, c.Cs + r * c.stateRow, c.C + at, c.CBias == 0 ? 0 : c.CBias + bias, c.cosines, c.sines);
  }
  const x = c.x + token * c.xRow + <usize>head * c.headBytes;
  const y = c.y + token * c.outRow + <usize>head * c.headOut;
  const skip: f32 = c.D == 0 ? 0 : load<f32>(c.D + ((<usize>head) << 2));
  for (let p: usize = 0; p < c.headBytes; p += 4, h += <usize>dState * 4) {
    const input = load<f32>(x + p);
    const before = load<f32>(lastX + p);
    for (let r: usize = 0; r < nRanks; r++) {
      const mixed = mixOf(c, head, r, p);
      store<f32>(c.inputs + (r << 2), late * before * mixed);
      store<f32>(c.inputs + ((nRanks + r) << 2), own * input * mixed);
    }
    moveRow(h, decay, c.inputs, c.Bs, c.stateRow, nRanks * 2, dState);
    for (let r: usize = 0; r < nRanks; r++) {
      let value = dot(h, c.Cs + r * c.stateRow, dState);
      if (c.D != 0) value += skip * input * mixOf(c, head, r, p);
      store<f32>(y + r * c.headBytes + p, value);
    }
  }
  memory.copy(lastX, x, c.headBytes);
  memory.copy(c.Bs, fresh, nRanks * c.stateRow);
}

/** mimoX of a rank and channel, p bytes into a head. */
function mixOf(c: RecurrentCall, head: i32, r: usize, p: usize): f32 {
  if (c.mimoX == 0) return 1;
  return load<f32>(c.mimoX + (<usize>(head * c.nRanks) + r) * c.headBytes + p);
}

/** h = decay h + sum_k inputs[k] rows[k] on one row; `row` bytes from one of `rows` to the next. */
// prettier-ignore
function moveRow(h: usize, decay: v128, inputs: usize, rows: usize, row: usize, count: usize, size: i32): void {
  for (; size > 0; size -= 4, h += 16, rows += 16) {
    let state = f32x4.mul(decay, loadTail(h, size));
    let from = rows;
    for (let k: usize = 0; k < count; k++, from += row) {
      state = madd(v128.load32_splat(inputs + (k << 2)), loadTail(from, size), state);
    }
    storeTail(h, state, size);
  }
}
