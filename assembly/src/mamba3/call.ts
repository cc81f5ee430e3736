/** What the phases of a call share: a block of memory, which a pointer names. */
import { Call } from '../ssd/call';
import { roundUp, roundUpLarge } from '../matrix/rows';
import { takeFloats } from '../matrix/scratch';
import { paddedSteps } from '../ssd/decays';

/** More than what lies between steps and whole tiles of them. */
const TILE: i32 = 16;

/** Rows take the place of SSD's steps: nRanks rows per step. */
@unmanaged
export class Mamba3Call extends Call {
  trap: usize;
  angles: usize;
  BBias: usize;
  CBias: usize;
  mimoX: usize;
  initialAngle: usize;
  initialB: usize;
  initialX: usize;
  nRanks: i32;
  nAngles: i32;
  angleHeads: i32;
  aFloor: f32;
  half: i32;

  // Sizes.
  stateRow: usize; // bytes of a row of B' or C', in whole vectors
  angleRow: usize; // bytes of a step's angles, in whole vectors of floats
  angleStep: usize; // and of a step as the caller has it
  rankRow: usize; // of a rank of B, and of a step:
  stepOfB: usize;
  outRow: usize; // of a step of y
  headOut: usize; // of a head in y

  // Of a head over some steps, one number per step: dt, A and l; l dt; w.
  step: usize;
  rate: usize;
  share: usize;
  own: usize;
  weight: usize;
  // The same per row; where steps have several rows, in memory of their own.
  spreadSteps: usize;
  stepOfRow: usize;
  rateOfRow: usize;
  ownOfRow: usize;
  weightOfRow: usize;

  // Rows of angles: tanh(angles), their cosines and sines after summing up; the sums (f64) where the head is.
  turns: usize;
  cosines: usize;
  sines: usize;
  angle: usize;

  // Of a head over a chunk: rows of B' and C'; v, and bytes from one row of it to the next; what a row gives to the end.
  Bs: usize;
  Cs: usize;
  v: usize;
  vRow: usize;
  V: usize; // v, where it is not x
  toEndWeighted: usize;

  plain: usize; // a state as the caller has it
  factor: usize; // a float
}

/** After SSD's, in which chunks are so many steps. */
export function setMamba3Sizes(c: Mamba3Call, nRanks: i32, nAngles: i32, angleHeads: i32): void {
  c.nRanks = nRanks;
  c.nAngles = nAngles;
  c.angleHeads = angleHeads;
  c.padded = paddedSteps(c.chunk * nRanks);
  c.pairRow = <usize>c.padded * 4;
  c.stateRow = <usize>roundUp(c.dState, 4) * 4;
  c.angleRow = <usize>roundUp(nAngles, 4) * 4;
  c.angleStep = <usize>angleHeads * nAngles * 4;
  c.rankRow = c.groupRow;
  c.stepOfB = c.groupRow * nRanks;
  c.headOut = c.headBytes * nRanks;
  c.outRow = c.headOut * c.nHeads;
}

/** Working memory for so many steps of a head, and one step beyond them; whole tiles are read of the last ones. */
export function takeSteps(c: Mamba3Call, steps: f64): void {
  const padded = roundUpLarge(steps + 1, 4) + TILE;
  c.step = takeFloats(padded);
  c.rate = takeFloats(padded);
  c.share = takeFloats(padded);
  c.own = takeFloats(padded);
  c.weight = takeFloats(padded);
  c.factor = takeFloats(4);
}

/** Working memory for the angles of so many steps. */
export function takeAngles(c: Mamba3Call, steps: f64): void {
  const row = roundUpLarge(<f64>c.nAngles, 4);
  c.turns = takeFloats(steps * row);
  c.cosines = takeFloats(steps * row);
  c.sines = takeFloats(steps * row);
}
