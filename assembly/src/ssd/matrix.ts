/** The matrix of a head, written out: see ssdMatrixForward. */
import { packPanels } from '../matrix/panels';
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { COLUMNS } from '../matrix/tile';
import { paddedStepsLarge } from './call';
import { chunkDecays, decayed, gatherSteps, paddedSteps, stepSizes } from './decays';
import { LEFT_STEP, multiplyPairs, RIGHT_STEP, ROWS } from './products';

@unmanaged
class MatrixCall {
  C5: usize;
  B8: usize;
  CB: usize;
  S: usize;
  s: usize;
  fromStart: usize;
  toEnd: usize;
  whole: usize;
  stepOfHead: usize;
  steps: usize;
}

/** Where a call is laid out of which only the size is asked. */
const nowhere: usize = memory.data(offsetof<MatrixCall>());

function layOut(c: MatrixCall, scratch: usize, seqLen: i32, nHeads: i32, dState: i32): void {
  const padded = paddedStepsLarge(seqLen);
  startScratch(scratch, offsetof<MatrixCall>());
  c.C5 = takeFloats(padded * <f64>dState);
  c.B8 = takeFloats(padded * <f64>dState);
  c.CB = takeFloats(padded * padded);
  c.S = takeFloats(padded * padded);
  c.s = takeFloats(2 * padded);
  c.fromStart = takeFloats(padded);
  c.toEnd = takeFloats(padded);
  c.whole = takeFloats(8);
  c.stepOfHead = takeFloats(padded);
  c.steps = takeFloats(<f64>seqLen * <f64>nHeads);
}

/** Bytes of scratch memory. */
export function ssdMatrixForwardScratchBytes(seqLen: i32, nHeads: i32, dState: i32): f64 {
  layOut(changetype<MatrixCall>(nowhere), 0, seqLen, nHeads, dState);
  return scratchEnd();
}

/**
 * The matrix M [batch, nHeads, seqLen, seqLen] by which a head takes dt x to y (without D and z):
 * M[i][j] = exp(s[i] - s[j]) (C[i].B[j]) for j <= i, else 0. The sequence is one chunk here.
 */
// prettier-ignore
export function ssdMatrixForward(
  M: usize, dt: usize, A: usize, B: usize, C: usize, dtBias: usize,
  batch: i32, seqLen: i32, nHeads: i32, nGroups: i32, dState: i32,
  dtSoftplus: i32, dtMin: f32, dtMax: f32, scratch: usize,
): void {
  const c = changetype<MatrixCall>(scratch);
  layOut(c, scratch, seqLen, nHeads, dState);
  const padded = paddedSteps(seqLen);
  const ld = <usize>padded * 4;
  const groupRow = <usize>nGroups * dState * 4;
  const headRow = <usize>nHeads * 4;
  const row = <usize>seqLen * 4;
  const leftPanel = <usize>dState * LEFT_STEP;
  const rightPanel = <usize>dState * RIGHT_STEP;
  const headsOfGroup = nHeads / nGroups;
  for (let b = 0; b < batch; b++) {
    const sequence = <usize>b * seqLen;
    stepSizes(c.steps, dt + sequence * headRow, dtBias, seqLen, nHeads, headRow, dtSoftplus, dtMin, dtMax);
    for (let head = 0; head < nHeads; head++) {
      if (head % headsOfGroup == 0) {
        const group = sequence * groupRow + <usize>(head / headsOfGroup) * dState * 4;
        packPanels(c.C5, leftPanel, ROWS, C + group, groupRow, 4, seqLen, dState);
        packPanels(c.B8, rightPanel, COLUMNS, B + group, groupRow, 4, seqLen, dState);
        multiplyPairs(c.CB, ld, seqLen, c.C5, leftPanel, c.B8, rightPanel, dState, 1);
      }
      gatherSteps(c.stepOfHead, c.steps + <usize>head * 4, headRow, seqLen);
      chunkDecays(c.s, c.fromStart, c.toEnd, c.whole, c.stepOfHead, A + <usize>head * 4, 0, seqLen);
      decayed(c.S, c.CB, c.s, seqLen, padded);
      for (let i = 0; i < seqLen; i++) {
        const below = <usize>(i + 1) * 4;
        memory.copy(M, c.S + <usize>i * ld, below);
        memory.fill(M + below, 0, row - below);
        M += row;
      }
    }
  }
}
