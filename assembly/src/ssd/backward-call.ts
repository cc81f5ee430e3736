/** What the phases of the backward pass share. */
import { roundUp, roundUpLarge } from '../matrix/rows';
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { COLUMNS } from '../matrix/tile';
import { Call, paddedStepsLarge } from './call';
import { ROWS } from './products';

@unmanaged
export class BackwardCall extends Call {
  dx: usize;
  ddt: usize;
  dB: usize;
  dC: usize;
  dD: usize;
  dz: usize;
  dInitialState: usize;
  dy: usize;
  dLastState: usize;

  /** Items of the batch that are computed together, from this one on; heads of a group that are, and such bundles. */
  firstItem: usize;
  bundleHeads: i32;
  bundles: i32;

  // Of the whole batch, by item and head: sums over the steps, for dA and dDtBias (f64) and, [channels], for dD.
  slopes: usize;
  stepSums: usize;
  skips: usize;

  // What comes next in memory: of the groups of all items, and of all bundles; and bytes of each.
  groups: usize;
  bytesOfGroup: usize;
  parts: usize;
  bytesOfPart: usize;

  // Of heads whose states are kept, one after the other: h0 of each chunk; the gradient of the initial state, and dh of
  // each chunk; and of each chunk its terms of the head's sums, `slopes` and `skips`.
  keptStates: usize;
  keptGradients: usize;
  keptSlopes: usize;
  keptSkips: usize;

  chunks: i32;
  stateColumns: i32; // dState, across
  groupStep: usize; // bytes of a step of dBs
  turnedPanel: usize; // bytes of a panel of `turned`

  // Of a group, all chunks, each so many bytes from the next. T, dBs and dCs are of some of its heads: a bundle.
  deepBytes: usize;
  cDeep: usize; // rows of a chunk down, states deep
  bDeep: usize;
  downBytes: usize;
  cDown: usize; // states down, a chunk deep
  bDown: usize;
  squareBytes: usize;
  CB: usize;
  T: usize; // E M
  groupBytes: usize;
  dBs: usize;
  dCs: usize;

  // Of a head.
  h: usize; // at each chunk's start
  dh: usize;
  turned: usize; // a state, states across
  rate: f32; // A
  headAt: usize; // bytes from the start of x
  sequence: usize; // steps before this batch item
  firstState: usize; // states before this batch item
  groupAt: usize; // bytes from the start of B

  // Of a head and chunk.
  index: i32;
  at: usize; // bytes from the start of x
  h0: usize;
  hasState: bool; // h0 is not known to be zeros
  hasGradient: bool; // nor is dh
  X: usize;
  g: usize;
  gLeft: usize;
  Y: usize;
  dX: usize;
  left: usize; // operands of a product
  right: usize;
  M: usize; // and then S
  fromState: usize;
  change: usize;
  toLater: usize; // per step, what h0 gives to it
  toState: usize; // per step, what it gives to the end
  skip: usize; // sum for dD of the chunk
}

/** After `setSizes`: sizes, and working memory of one thread for so many heads at a time. */
export function layOut(c: BackwardCall, scratch: usize, heads: i32): void {
  const chunks = Math.ceil(<f64>c.seqLen / <f64>c.chunk);
  const padded = paddedStepsLarge(c.chunk);
  const channels = roundUpLarge(<f64>c.headDim, COLUMNS);
  const states = roundUpLarge(<f64>c.dState, ROWS);
  const stateColumns = roundUpLarge(<f64>c.dState, COLUMNS);
  const wide = Math.max(channels, stateColumns); // operands may also hold B or C
  c.chunks = <i32>chunks;
  c.stateColumns = roundUp(c.dState, COLUMNS);
  c.groupStep = <usize>c.stateColumns * 4;
  c.turnedPanel = <usize>c.channels * 32;
  c.deepBytes = <usize>c.padded * c.dState * 4;
  c.downBytes = <usize>c.padded * c.states * 4;
  c.squareBytes = <usize>c.padded * c.padded * 4;
  c.groupBytes = <usize>c.padded * c.stateColumns * 4;
  startScratch(scratch, offsetof<BackwardCall>());
  c.h = takeFloats(states * channels * chunks);
  c.dh = takeFloats(states * channels);
  c.turned = takeFloats(stateColumns * channels);
  c.X = takeFloats(padded * channels);
  c.g = takeFloats(padded * channels);
  c.Y = takeFloats(padded * channels);
  c.dX = takeFloats(padded * channels);
  c.left = takeFloats(padded * Math.max(padded, wide));
  c.right = takeFloats(padded * wide);
  c.gLeft = takeFloats(padded * channels);
  c.M = takeFloats(padded * padded);
  c.fromState = takeFloats(padded * stateColumns);
  c.s = takeFloats(2 * padded);
  c.change = takeFloats(2 * padded);
  c.toLater = takeFloats(2 * padded);
  c.toState = takeFloats(2 * padded);
  c.fromStart = takeFloats(padded);
  c.toEnd = takeFloats(padded);
  c.stepOfHead = takeFloats(padded);
  c.whole = takeFloats(8);
  c.skip = takeFloats(channels);
  c.steps = takeFloats(<f64>c.seqLen * <f64>heads);
}

/**
 * After `layOut`: memory that the phases share, for so many groups at a time and parts of them, and so many heads whose
 * states are kept. @returns its end
 */
// prettier-ignore
export function layOutShared(
  c: BackwardCall, shared: usize, heads: i32, groups: i32, parts: i32, kept: i32,
): f64 {
  const chunks = Math.ceil(<f64>c.seqLen / <f64>c.chunk);
  const padded = paddedStepsLarge(c.chunk);
  const states = roundUpLarge(<f64>c.dState, ROWS);
  const stateColumns = roundUpLarge(<f64>c.dState, COLUMNS);
  const ofGroup = chunks * padded * (2 * <f64>c.dState + 2 * states + padded);
  const ofPart = chunks * padded * (padded + 2 * stateColumns);
  c.bytesOfGroup = <usize>(4 * ofGroup);
  c.bytesOfPart = <usize>(4 * ofPart);
  startScratch(shared, 0);
  c.slopes = takeFloats(2 * <f64>heads);
  c.stepSums = takeFloats(2 * <f64>heads);
  const channels = roundUpLarge(<f64>c.headDim, COLUMNS);
  c.skips = takeFloats(<f64>heads * channels);
  c.groups = takeFloats(<f64>groups * ofGroup);
  c.parts = takeFloats(<f64>parts * ofPart);
  c.keptStates = takeFloats(<f64>kept * chunks * states * channels);
  c.keptGradients = takeFloats(<f64>kept * (chunks + 1) * states * channels);
  c.keptSlopes = takeFloats(2 * <f64>kept * chunks);
  c.keptSkips = takeFloats(<f64>kept * chunks * channels);
  return scratchEnd();
}

/** Turns to a group of an item, counted from the first that is computed, and to one of its bundles of heads. */
export function openGroup(c: BackwardCall, group: i32, bundle: i32): void {
  const item = c.firstItem + <usize>(group / c.nGroups);
  const panels = c.groups + <usize>group * c.bytesOfGroup;
  const part = c.parts + <usize>(group * c.bundles + bundle) * c.bytesOfPart;
  c.sequence = item * c.seqLen;
  c.firstState = item * c.nHeads;
  c.groupAt = c.sequence * c.groupRow + <usize>(group % c.nGroups) * c.dState * 4;
  c.cDeep = panels;
  c.bDeep = c.cDeep + c.deepBytes * c.chunks;
  c.cDown = c.bDeep + c.deepBytes * c.chunks;
  c.bDown = c.cDown + c.downBytes * c.chunks;
  c.CB = c.bDown + c.downBytes * c.chunks;
  c.T = part;
  c.dBs = c.T + c.squareBytes * c.chunks;
  c.dCs = c.dBs + c.groupBytes * c.chunks;
}

/** Steps of a chunk. */
export function lengthOf(c: BackwardCall, index: i32): i32 {
  return min(c.chunk, c.seqLen - index * c.chunk);
}

/** Bytes from the start of B to a chunk of the group. */
export function groupChunkAt(c: BackwardCall, index: i32): usize {
  return c.groupAt + <usize>(index * c.chunk) * c.groupRow;
}
