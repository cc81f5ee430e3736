/** What the phases of the backward pass share. */
import { roundUp, roundUpLarge } from '../matrix/rows';
import { startScratch, takeFloats } from '../matrix/scratch';
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

  chunks: i32;
  stateColumns: i32; // dState, across
  groupStep: usize; // bytes of a step of dBs
  turnedPanel: usize; // bytes of a panel of `turned`

  // Of a group, all chunks, each so many bytes from the next.
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
  skip: usize; // sums for dD: of the chunk, of all heads
  skips: usize;
  slopes: usize; // sums for dA, f64
}

/** After `setSizes`. */
export function layOut(c: BackwardCall, scratch: usize): void {
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
  c.cDeep = takeFloats(padded * <f64>c.dState * chunks);
  c.bDeep = takeFloats(padded * <f64>c.dState * chunks);
  c.cDown = takeFloats(padded * states * chunks);
  c.bDown = takeFloats(padded * states * chunks);
  c.CB = takeFloats(padded * padded * chunks);
  c.T = takeFloats(padded * padded * chunks);
  c.dBs = takeFloats(padded * stateColumns * chunks);
  c.dCs = takeFloats(padded * stateColumns * chunks);
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
  c.slopes = takeFloats(2 * <f64>c.nHeads);
  c.skips = takeFloats(<f64>c.nHeads * channels);
  c.steps = takeFloats(<f64>c.seqLen * <f64>c.nHeads);
}
