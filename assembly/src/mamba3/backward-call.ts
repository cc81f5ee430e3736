/** What the phases of the backward pass share. */
import { roundUp, roundUpLarge } from '../matrix/rows';
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { COLUMNS } from '../matrix/tile';
import { ROWS } from '../ssd/products';
import { Mamba3Call, takeAngles, takeSteps } from './call';
import { paddedRowsLarge, takeRows } from './rows';

@unmanaged
export class BackwardCall extends Mamba3Call {
  dx: usize;
  ddt: usize;
  dA: usize;
  dtrap: usize;
  dB: usize;
  dC: usize;
  dangles: usize;
  dInitialAngle: usize;
  dInitialState: usize;
  dInitialB: usize;
  dInitialX: usize;
  dy: usize;
  dLastAngle: usize;
  dLastState: usize;
  dLastB: usize;
  dLastX: usize;

  bundleHeads: i32;
  bundles: i32; // of a group
  chunks: i32;
  stateColumns: i32; // dState, across
  gradientRow: usize; // bytes of a row of dBs
  turnedPanel: usize; // bytes of a panel of `turned`

  // Of the whole batch, by item and head: sums over the steps, rows of sumsRow bytes. In a row:
  sums: usize;
  sumsRow: usize;
  mixSums: usize; // dMimoX, [nRanks, channels], that many bytes into it,
  BSums: usize; // dBBias, [nRanks, dState] in whole vectors,
  CSums: usize;
  doubleSums: usize; // dD and dDtBias, doubles.

  // dB, dC and dangles of all bundles but the first, each as large as what they are added to.
  partsOfB: usize;
  partsOfC: usize;
  partsOfAngles: usize;
  bytesOfB: usize;
  bytesOfAngles: usize;
  // Where those of this bundle are.
  ownB: usize;
  ownC: usize;
  ownAngles: usize;

  // Of a head, per step: gradients of its log decay, of w, of l dt where it is not part of w (doubles), and of dt
  // through the angles.
  changes: usize;
  weightGradients: usize;
  ownGradients: usize;
  turnGradients: usize;
  angleGradient: usize; // of the angles after this step, doubles

  // Of a head.
  h: usize; // at each chunk's start
  dh: usize;
  turned: usize; // a state, states across
  item: usize;
  index: usize; // of all heads of the batch
  sumsAt: usize;
  firstGradient: f32; // of (1 - l) dt of the first step

  // Of a head and chunk.
  chunkIndex: i32;
  steps0: i32; // steps before it
  count: i32; // its steps
  token: usize; // its first step, in the batch
  h0: usize;
  hasState: bool; // h0 is not known to be zeros
  hasGradient: bool; // nor is dh
  g: usize;
  gLeft: usize;
  gRight: usize;
  CB: usize; // and then E W M
  M: usize; // and then S
  dV: usize;
  dBs: usize;
  dCs: usize;
  left: usize; // operands of a product
  right: usize;
  change: usize;
  columns: usize; // sums of columns
  toLater: usize; // per row, what h0 gives to it
  toState: usize; // per row, what it gives to the end
  slopes: usize; // gradients of the angles of a step
  chunkSums: usize; // as `sums`, of a chunk
  four: usize; // four floats, four times
}

/** After `setSizes`: sizes, and working memory of one thread. */
export function layOut(c: BackwardCall, scratch: usize): void {
  const length = <f64>c.seqLen;
  const chunks = Math.ceil(length / <f64>c.chunk);
  const padded = paddedRowsLarge(c);
  const channels = roundUpLarge(<f64>c.headDim, COLUMNS);
  const states = roundUpLarge(<f64>c.dState, ROWS);
  const stateColumns = roundUpLarge(<f64>c.dState, COLUMNS);
  const angles = roundUpLarge(<f64>c.nAngles, 4);
  const operand = padded * Math.max(padded, Math.max(channels, stateColumns));
  c.chunks = <i32>chunks;
  c.stateColumns = roundUp(c.dState, COLUMNS);
  c.gradientRow = <usize>c.stateColumns * 4;
  c.turnedPanel = <usize>c.channels * 32;
  startScratch(scratch, offsetof<BackwardCall>());
  takeSteps(c, length);
  takeAngles(c, length);
  takeRows(c);
  c.angle = takeFloats(2 * angles);
  c.angleGradient = takeFloats(2 * angles);
  c.slopes = takeFloats(angles);
  c.changes = takeFloats(2 * length);
  c.weightGradients = takeFloats(2 * length);
  c.ownGradients = takeFloats(2 * length);
  c.turnGradients = takeFloats(length);
  c.h = takeFloats(states * channels * chunks);
  c.dh = takeFloats(states * channels);
  c.turned = takeFloats(stateColumns * channels);
  c.g = takeFloats(padded * channels);
  c.gLeft = takeFloats(padded * channels);
  c.gRight = takeFloats(padded * channels);
  c.dV = takeFloats(padded * channels);
  c.CB = takeFloats(padded * padded);
  c.M = takeFloats(padded * padded);
  c.dBs = takeFloats(padded * stateColumns);
  c.dCs = takeFloats(padded * stateColumns);
  c.left = takeFloats(operand);
  c.right = takeFloats(operand);
  c.change = takeFloats(2 * padded);
  c.columns = takeFloats(2 * padded);
  c.toLater = takeFloats(2 * padded);
  c.toState = takeFloats(2 * padded);
  c.four = takeFloats(16);
  c.chunkSums = takeFloats(sumsFloats(c));
}

/** Floats of a row of sums. */
function sumsFloats(c: BackwardCall): f64 {
  const ranks = <f64>c.nRanks;
  return ranks * (roundUpLarge(<f64>c.headDim, COLUMNS) + 2 * roundUpLarge(<f64>c.dState, 4)) + 4;
}

/** After `layOut`: memory that the phases share. @returns its end */
export function layOutShared(c: BackwardCall, shared: usize, batch: i32, bundles: i32): f64 {
  const tokens = <f64>batch * <f64>c.seqLen;
  const ofB = tokens * <f64>c.nRanks * <f64>c.nGroups * <f64>c.dState;
  const ofAngles = tokens * <f64>c.nAngles;
  const ofSums = sumsFloats(c);
  c.bundles = bundles;
  c.bytesOfB = <usize>(4 * ofB);
  c.bytesOfAngles = <usize>(4 * ofAngles);
  c.mixSums = 0;
  c.BSums = <usize>c.nRanks * c.rowBytes;
  c.CSums = c.BSums + <usize>c.nRanks * c.stateRow;
  c.doubleSums = c.CSums + <usize>c.nRanks * c.stateRow;
  c.sumsRow = <usize>(4 * ofSums);
  startScratch(shared, 0);
  c.sums = takeFloats(<f64>batch * <f64>c.nHeads * ofSums);
  c.partsOfB = takeFloats(<f64>(bundles - 1) * ofB);
  c.partsOfC = takeFloats(<f64>(bundles - 1) * ofB);
  c.partsOfAngles = takeFloats(c.angleHeads == 1 ? (<f64>c.nGroups * <f64>bundles - 1) * ofAngles : 0);
  return scratchEnd();
}
