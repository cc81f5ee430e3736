/** Rows of a head over a chunk: B', C' and v, nRanks per step. */
import { packPanels } from '../matrix/panels';
import { addScaledRow, roundUpLarge } from '../matrix/rows';
import { takeFloats } from '../matrix/scratch';
import { COLUMNS } from '../matrix/tile';
import { loadTail, storeTail } from '../simd';
import { groupOf } from '../ssd/call';
import { packState } from '../ssd/panels';
import { RIGHT_STEP, ROWS } from '../ssd/products';
import { Mamba3Call } from './call';
import { turnRow } from './rotation';
import { lateOf } from './steps';

/** Rows of a chunk in whole tiles both ways. */
export function paddedRowsLarge(c: Mamba3Call): f64 {
  return roundUpLarge(roundUpLarge(<f64>c.chunk * <f64>c.nRanks, ROWS), COLUMNS);
}

/** Working memory for the rows of a chunk. */
export function takeRows(c: Mamba3Call): void {
  const padded = paddedRowsLarge(c);
  const row = roundUpLarge(<f64>c.dState, 4);
  const channels = roundUpLarge(<f64>c.headDim, COLUMNS);
  c.spreadSteps = takeFloats(4 * padded);
  c.s = takeFloats(2 * padded);
  c.fromStart = takeFloats(padded);
  c.toEnd = takeFloats(padded);
  c.toEndWeighted = takeFloats(padded);
  c.whole = takeFloats(8);
  c.Bs = takeFloats(padded * row);
  c.Cs = takeFloats(padded * row);
  c.V = takeFloats(padded * channels);
  c.plain = takeFloats(<f64>c.headDim * <f64>c.dState);
}

/**
 * B' of a head, and C' if `reads`, for `count` steps from `token` on, a step of the batch; cosines and sines from their
 * first one.
 */
// prettier-ignore
export function headRows(
  c: Mamba3Call, token: usize, head: i32, count: i32, cosines: usize, sines: usize, reads: bool,
): void {
  const groupAt = <usize>(groupOf(c, head) * c.dState) * 4;
  const biasAt = <usize>(head * c.nRanks * c.dState) * 4;
  let Bs = c.Bs;
  let Cs = c.Cs;
  for (const end = token + count; token < end; token++) {
    for (let r: usize = 0; r < <usize>c.nRanks; r++) {
      const at = token * c.stepOfB + r * c.rankRow + groupAt;
      const bias = biasAt + r * c.dState * 4;
      turnRow(c, Bs, c.B + at, c.BBias == 0 ? 0 : c.BBias + bias, cosines, sines);
      if (reads) turnRow(c, Cs, c.C + at, c.CBias == 0 ? 0 : c.CBias + bias, cosines, sines);
      Bs += c.stateRow;
      Cs += c.stateRow;
    }
    cosines += c.angleRow;
    sines += c.angleRow;
  }
}

/** v of a head for `count` steps, x of the first of which is `at` bytes from the start. */
export function headInputs(c: Mamba3Call, at: usize, head: i32, count: i32): void {
  c.v = c.x + at;
  c.vRow = c.xRow;
  if (c.mimoX == 0) return;
  c.v = c.V;
  c.vRow = c.rowBytes;
  let V = c.V;
  for (let x = c.x + at; count > 0; count--, x += c.xRow) {
    let mix = c.mimoX + <usize>head * c.headOut;
    for (let r = 0; r < c.nRanks; r++, mix += c.headBytes, V += c.rowBytes)
      multiplyRows(V, x, mix, c.headDim);
  }
}

/** out = a b on rows of any size. */
function multiplyRows(out: usize, a: usize, b: usize, size: i32): void {
  for (; size > 0; size -= 4, out += 16, a += 16, b += 16) {
    storeTail(out, f32x4.mul(loadTail(a, size), loadTail(b, size)), size);
  }
}

/** v in panels of channels. */
export function packInputs(c: Mamba3Call, out: usize, rows: i32): void {
  packPanels(out, <usize>rows * RIGHT_STEP, COLUMNS, c.v, 4, c.vRow, c.headDim, rows);
}

/** toEnd w, what the input of a row gives to the end; arrays are padded. */
export function weightEnds(c: Mamba3Call, rows: i32): void {
  for (let i = 0; i < rows; i += 4) {
    const at = (<usize>i) << 2;
    v128.store(c.toEndWeighted + at, f32x4.mul(v128.load(c.toEnd + at), v128.load(c.weightOfRow + at)));
  }
}

/** Whether a sequence has a state before its first step. */
export function hasInitial(c: Mamba3Call): bool {
  return c.initialState != 0 || carriesInput(c);
}

/** Whether the input of a step before the first one is known. */
export function carriesInput(c: Mamba3Call): bool {
  return c.initialB != 0 && c.initialX != 0;
}

/** Bytes from the start of initialB to the row of rank 0 of a head, and to that of the next rank. */
export function keptAt(c: Mamba3Call, item: usize, head: i32): usize {
  return (item * c.nRanks * c.nHeads + head) * c.dState * 4;
}

export function keptStep(c: Mamba3Call): usize {
  return <usize>c.nHeads * c.dState * 4;
}

/** H before the first step, in panels; the step sizes of the head are known. */
export function startState(c: Mamba3Call, h: usize, item: usize, head: i32): void {
  const index = item * c.nHeads + head;
  const row = <usize>c.dState * 4;
  if (c.initialState == 0) memory.fill(c.plain, 0, c.stateBytes);
  else memory.copy(c.plain, c.initialState + index * c.stateBytes, c.stateBytes);
  if (carriesInput(c)) {
    const late = lateOf(c, 0);
    const x = c.initialX + index * c.headBytes;
    let B = c.initialB + keptAt(c, item, head);
    for (let r: usize = 0; r < <usize>c.nRanks; r++, B += keptStep(c)) {
      const mix = c.mimoX == 0 ? 0 : c.mimoX + <usize>head * c.headOut + r * c.headBytes;
      for (let p: usize = 0; p < <usize>c.headDim; p++) {
        const input = late * load<f32>(x + (p << 2));
        store<f32>(c.factor, mix == 0 ? input : input * load<f32>(mix + (p << 2)));
        addScaledRow(c.plain + p * row, c.factor, B, c.dState);
      }
    }
  }
  packState(h, c.plain, c.headDim, c.dState);
}
