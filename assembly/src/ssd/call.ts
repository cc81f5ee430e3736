/** What the phases of a chunked call share: a block of memory, which a pointer names. */
import { roundUp, roundUpLarge } from '../matrix/rows';
import { COLUMNS } from '../matrix/tile';
import { paddedSteps, stepSizes } from './decays';
import { LEFT_STEP, ROWS } from './products';
import { statePanelBytes } from './panels';

@unmanaged
export class Call {
  // Arguments of forward and backward.
  x: usize;
  dt: usize;
  A: usize;
  B: usize;
  C: usize;
  D: usize;
  z: usize;
  dtBias: usize;
  initialState: usize;
  seqLen: i32;
  nHeads: i32;
  headDim: i32;
  nGroups: i32;
  dState: i32;
  chunk: i32;
  skipByChannel: i32;
  dtSoftplus: i32;
  dtMin: f32;
  dtMax: f32;

  // Sizes in whole tiles.
  padded: i32; // steps of a chunk, both ways
  channels: i32; // headDim
  states: i32; // dState, down

  // Bytes.
  headRow: usize; // of a step of dt
  xRow: usize; // of a step of x
  groupRow: usize; // of a step of B
  headBytes: usize; // of a head in x
  stateBytes: usize; // of a head's state as the caller has it
  panelBytes: usize; // of a panel of a state, and of all of them:
  packedBytes: usize;
  pairRow: usize; // of a step of a matrix [steps, steps]
  rowBytes: usize; // of a step of one head, padded
  deepPanel: usize; // of a panel of B or C, dState deep

  // Where the call is.
  head: i32;
  length: i32; // steps of this chunk
  /** Of the head over the chunk: s, exp(s), exp(s_end - s), eight times exp(s_end), and the step sizes. */
  s: usize;
  fromStart: usize;
  toEnd: usize;
  whole: usize;
  stepOfHead: usize;
  /** Step sizes of the heads that are computed together, which are so many from `firstHead` on. */
  steps: usize;
  stepRow: usize; // bytes of a step
  firstHead: i32;
  heads: i32;
}

// prettier-ignore
export function setSizes(
  c: Call, seqLen: i32, nHeads: i32, headDim: i32, nGroups: i32, dState: i32, chunkSize: i32,
): void {
  c.seqLen = seqLen;
  c.nHeads = nHeads;
  c.headDim = headDim;
  c.nGroups = nGroups;
  c.dState = dState;
  c.chunk = min(chunkSize, seqLen);
  c.padded = paddedSteps(c.chunk);
  c.channels = roundUp(headDim, COLUMNS);
  c.states = roundUp(dState, ROWS);
  c.headRow = <usize>nHeads * 4;
  c.xRow = c.headRow * headDim;
  c.groupRow = <usize>nGroups * dState * 4;
  c.headBytes = <usize>headDim * 4;
  c.stateBytes = <usize>headDim * dState * 4;
  c.panelBytes = statePanelBytes(dState);
  c.packedBytes = <usize>(c.channels / COLUMNS) * c.panelBytes;
  c.pairRow = <usize>c.padded * 4;
  c.rowBytes = <usize>c.channels * 4;
  c.deepPanel = <usize>dState * LEFT_STEP;
}

/** `paddedSteps` of a chunk, as f64. */
export function paddedStepsLarge(chunk: i32): f64 {
  return roundUpLarge(roundUpLarge(<f64>chunk, ROWS), COLUMNS);
}

/** Says which heads of an item of the batch are computed together. */
export function setHeads(c: Call, firstHead: i32, heads: i32): void {
  c.firstHead = firstHead;
  c.heads = heads;
  c.stepRow = <usize>heads * 4;
}

/** Their step sizes from `token` on, the step of the batch: so many, to `target` in `steps`. */
// prettier-ignore
export function headSteps(c: Call, target: usize, token: usize, steps: i32): void {
  const at = <usize>c.firstHead * 4;
  stepSizes(
    target, c.dt + token * c.headRow + at, c.dtBias == 0 ? 0 : c.dtBias + at, steps, c.heads, c.headRow,
    c.dtSoftplus, c.dtMin, c.dtMax,
  );
}

/** D of a head; 0 if there is none. */
export function skipOf(c: Call, head: i32): usize {
  return c.D == 0 ? 0 : c.D + (c.skipByChannel ? <usize>head * c.headBytes : <usize>head * 4);
}

/** The group of a head. */
export function groupOf(c: Call, head: i32): i32 {
  return head / (c.nHeads / c.nGroups);
}
