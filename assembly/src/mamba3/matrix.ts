/** The matrix of a head, written out: see mamba3MatrixForward. */
import { packPanels } from '../matrix/panels';
import { roundUpLarge } from '../matrix/rows';
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { COLUMNS } from '../matrix/tile';
import { setSizes } from '../ssd/call';
import { chunkDecays } from '../ssd/decays';
import { multiplyPairs, RIGHT_STEP, ROWS } from '../ssd/products';
import { Mamba3Call, setMamba3Sizes, takeAngles, takeSteps } from './call';
import { weighted } from './pairs';
import { headAngles, headTurns, startAngles } from './rotation';
import { headRows, paddedRowsLarge, takeRows } from './rows';
import { headSteps, rowsOfSteps, stepWeights } from './steps';

@unmanaged
class MatrixCall extends Mamba3Call {
  cDeep: usize;
  bRight: usize;
  pairs: usize;
  S: usize;
}

function layOut(c: MatrixCall, scratch: usize): void {
  const padded = paddedRowsLarge(c);
  startScratch(scratch, offsetof<MatrixCall>());
  takeSteps(c, <f64>c.seqLen);
  takeAngles(c, <f64>c.seqLen);
  takeRows(c);
  c.angle = takeFloats(2 * roundUpLarge(<f64>c.nAngles, 4));
  c.cDeep = takeFloats(padded * <f64>c.dState);
  c.bRight = takeFloats(padded * <f64>c.dState);
  c.pairs = takeFloats(padded * padded);
  c.S = takeFloats(padded * padded);
}

/** Where a call is laid out of which only the size is asked. */
const nowhere: usize = memory.data(offsetof<MatrixCall>());

/** Bytes of scratch memory. */
export function mamba3MatrixForwardScratchBytes(seqLen: i32, nRanks: i32, dState: i32, nAngles: i32): f64 {
  const c = changetype<MatrixCall>(nowhere);
  setSizes(c, seqLen, 1, 1, 1, dState, seqLen);
  setMamba3Sizes(c, nRanks, nAngles, 1);
  layOut(c, 0);
  return scratchEnd();
}

/**
 * The matrix M [batch, nHeads, rows, rows] by which a head takes v to y (without D), rows being steps by ranks:
 * M[i][j] = exp(s[i] - s[j]) W[i][j] (C'[i].B'[j]) for the rows j of i's step and before it, else 0. The sequence is one
 * chunk here.
 */
// prettier-ignore
export function mamba3MatrixForward(
  M: usize, dt: usize, A: usize, trap: usize, B: usize, C: usize, angles: usize,
  BBias: usize, CBias: usize, dtBias: usize,
  batch: i32, seqLen: i32, nHeads: i32, nRanks: i32, nGroups: i32, dState: i32, nAngles: i32, angleHeads: i32,
  half: i32, dtSoftplus: i32, aFloor: f32, scratch: usize,
): void {
  const c = changetype<MatrixCall>(scratch);
  setSizes(c, seqLen, nHeads, 1, nGroups, dState, seqLen);
  setMamba3Sizes(c, nRanks, nAngles, angleHeads);
  layOut(c, scratch);
  c.dt = dt; c.A = A; c.trap = trap; c.B = B; c.C = C; c.angles = angles;
  c.BBias = BBias; c.CBias = CBias; c.dtBias = dtBias;
  c.half = half; c.dtSoftplus = dtSoftplus; c.aFloor = aFloor;
  const rows = seqLen * nRanks;
  const row = <usize>rows * 4;
  const right = <usize>dState * RIGHT_STEP;
  for (let item = 0; item < batch; item++) {
    const token = <usize>item * seqLen;
    for (let head = 0; head < nHeads; head++, M += row * rows) {
      headSteps(c, token, head, seqLen);
      stepWeights(c, seqLen, true);
      startAngles(c, 0);
      headTurns(c, c.turns, token, head, seqLen);
      headAngles(c, seqLen);
      headRows(c, token, head, seqLen, c.cosines, c.sines, true);
      rowsOfSteps(c, 0, seqLen);
      chunkDecays(c.s, c.fromStart, c.toEnd, c.whole, c.stepOfRow, c.rateOfRow, 4, rows);
      packPanels(c.cDeep, c.deepPanel, ROWS, c.Cs, c.stateRow, 4, rows, dState);
      packPanels(c.bRight, right, COLUMNS, c.Bs, c.stateRow, 4, rows, dState);
      multiplyPairs(c.pairs, c.pairRow, rows, c.cDeep, c.deepPanel, c.bRight, right, dState, nRanks);
      weighted(c.S, c.pairs, c.s, c.ownOfRow, c.weightOfRow, rows, nRanks, c.padded);
      for (let i = 0; i < rows; i++) {
        const seen = <usize>(i - (i % nRanks) + nRanks) * 4;
        const to = M + <usize>i * row;
        memory.copy(to, c.S + <usize>i * c.pairRow, seen);
        memory.fill(to + seen, 0, row - seen);
      }
    }
  }
}
