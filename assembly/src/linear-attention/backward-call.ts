/** What the phases of the backward pass share: a block of memory, which a pointer names; and what a block of steps needs. */
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { IDENTITY, packRows, paddedBytes, scaleRows, shifted, touch, zeroRows } from '../state/rows';
import { HeadPiece, keyAt, stepAt, valueAt } from '../state/head-piece';
import { BLOCK } from '../state/tiles';
import { oneRow } from './backward-rows';
import { packForget } from './recurrent';

@unmanaged
export class BackwardCall extends HeadPiece {
  // Arguments.
  dq: usize;
  dk: usize;
  dv: usize;
  dDecay: usize;
  dGate: usize;
  dInitialState: usize;
  dInitialNormalizer: usize;
  dO: usize;
  dLastState: usize;
  dLastNormalizer: usize;
  q: usize;
  k: usize;
  v: usize;
  decay: usize;
  gate: usize;
  initialState: usize;
  initialNormalizer: usize;
  featureMap: i32;
  normalize: i32;
  decayPerStep: i32;
  scale: f32;
  eps: f32;

  /** Whether the gradient of a forget factor has a part from the last state: the last step then comes alone. */
  hasLast: bool;

  // Bytes from one step to the next.
  keyStride: usize;
  valueStride: usize;
  decayStride: usize;
  stateBytes: usize; // of a head's state as the caller has it

  // Rows of a block of steps.
  queries: usize;
  keys: usize;
  keyOut: usize;
  keyExtra: usize; // z before each step, then q dq of each key channel
  values: usize;
  upstream: usize;
  valueOut: usize;
  forgets: usize;
  forget: usize; // where they start; 0 if there are none

  // Of the head that is open.
  gateSums: usize; // f64, one for each key channel: suffix sums of the gate's gradient
  decaySum: usize; // f64: that of the decay's
  headSum: usize; // f64: and its sum over the steps
  stateT: usize; // S transposed
  dState: usize;
  dStateT: usize;
  z: usize;
  dz: usize;
  lastRow: usize;
  decayProducts: usize; // f64, by step: q dq
  inverses: usize; // by step: 1 / denominator
  dDenominators: usize;
  owns: usize; // by step: gradient of q[t] . k[t]
  // Where pieces of a head are computed apart: rows of all steps, `keyOut` and `keyExtra` of a block.
  rows: usize;
  extraRows: usize;
}

/** Lays out the working memory of one thread: of a block of steps, from so many bytes on. What comes next are heads. */
export function layOut(c: BackwardCall, scratch: usize, header: usize, dKey: i32, dValue: i32): void {
  const keyRow = paddedBytes(dKey) / 4;
  const key = <f64>BLOCK * keyRow;
  const value = (<f64>BLOCK * paddedBytes(dValue)) / 4;
  startScratch(scratch, header);
  c.queries = takeFloats(key);
  c.keys = takeFloats(key);
  c.keyOut = takeFloats(key);
  c.keyExtra = takeFloats(key);
  c.values = takeFloats(value);
  c.upstream = takeFloats(value);
  c.valueOut = takeFloats(value);
  c.forgets = takeFloats(key + keyRow);
}

/** Lays out what belongs to a head. @returns its bytes */
export function layOutHead(c: BackwardCall, at: usize, seqLen: i32, dKey: i32, dValue: i32): f64 {
  const key = paddedBytes(dKey) / 4;
  const state = (key * paddedBytes(dValue)) / 4;
  startScratch(at, 0);
  c.gateSums = takeFloats(2 * key);
  c.decaySum = takeFloats(2);
  c.headSum = takeFloats(2);
  c.dz = takeFloats(key);
  c.lastRow = takeFloats(key);
  c.decayProducts = takeFloats(2 * <f64>seqLen);
  c.inverses = takeFloats(<f64>seqLen);
  c.dDenominators = takeFloats(<f64>seqLen);
  c.owns = takeFloats(<f64>seqLen);
  layOutStates(c, <usize>(ceil<f64>(scratchEnd() / 16) * 16), key, state);
  return ceil<f64>((scratchEnd() - <f64>at) / 64) * 64;
}

/** Lays out the states of a head, or of a piece of one. */
export function layOutStates(c: BackwardCall, at: usize, key: f64, state: f64): void {
  startScratch(at, 0);
  c.stateT = takeFloats(state);
  c.dState = takeFloats(state);
  c.dStateT = takeFloats(state);
  c.z = takeFloats(key);
}

/** Bytes from the start of dDecay to a step's, where there is one for each. */
export function decayAt(c: BackwardCall, t: i32): usize {
  return stepAt(c, t) << 2;
}

/** Bytes from the start of the states to the open channels and columns of the head's. */
export function stateAt(c: BackwardCall): usize {
  return c.index * c.stateBytes + (c.firstKey >> 2) * c.valueRow + c.firstValue;
}

/** Bytes from the start of the normalizers to the open channels of the head's. */
export function normalizerAt(c: BackwardCall): usize {
  return c.index * c.keyRow + c.firstKey;
}

export function packQueries(c: BackwardCall, t: i32, steps: i32): void {
  packRows(c.queries, c.q + keyAt(c, t), steps, c.keyStride, c.keyCount, c.featureMap, c.scale);
}

export function packKeys(c: BackwardCall, t: i32, steps: i32): void {
  packRows(c.keys, c.k + keyAt(c, t), steps, c.keyStride, c.keyCount, c.featureMap, 1);
}

export function packValues(c: BackwardCall, t: i32, steps: i32): void {
  packRows(c.values, c.v + valueAt(c, t), steps, c.valueStride, c.valueCount, IDENTITY, 1);
}

export function packUpstream(c: BackwardCall, t: i32, steps: i32): void {
  if (c.dO == 0) zeroRows(c.upstream, steps * c.value);
  else packRows(c.upstream, c.dO + valueAt(c, t), steps, c.valueStride, c.valueCount, IDENTITY, 1);
}

/** The upstream of the quotient's numerator. */
export function packScaledUpstream(c: BackwardCall, t: i32, steps: i32): void {
  packUpstream(c, t, steps);
  if (c.normalize) scaleRows(c.upstream, c.inverses + ((<usize>t) << 2), steps, c.value);
}

export function packForgets(c: BackwardCall, t: i32, steps: i32): void {
  const decayRow = shifted(c.decay, (c.decayPerStep ? stepAt(c, t) : <usize>c.head) << 2);
  const gateRow = shifted(c.gate, keyAt(c, t));
  c.forget = packForget(c.forgets, decayRow, c.decayStride, gateRow, c.keyStride, steps, c.keyCount);
}

/** A gradient's state is forgotten by the factors of the next step, which the last step has not. */
export function packNextForgets(c: BackwardCall, t: i32, steps: i32): void {
  const isLast = t + steps == c.seqLen;
  packForgets(c, t, isLast ? steps : steps + 1);
  if (c.forget == 0) return;
  const row = (<usize>c.key) << 2;
  c.forget += row;
  if (isLast) oneRow(c.forgets + <usize>steps * row, c.key);
}

/** Brings rows of some heads near, from the one that is open on; dq or dk and dv are written (0: not). */
// prettier-ignore
export function touchRows(c: BackwardCall, t: i32, steps: i32, heads: i32, keyGradient: usize, valueGradient: usize): void {
  const keys = <usize>heads * c.keyRow;
  const values = <usize>heads * c.valueRow;
  const key = keyAt(c, t);
  const value = valueAt(c, t);
  touch(c.q + key, steps, c.keyStride, keys, c.queries);
  touch(c.k + key, steps, c.keyStride, keys, c.queries);
  touch(c.v + value, steps, c.valueStride, values, c.queries);
  touch(shifted(c.dO, value), steps, c.valueStride, values, c.queries);
  touch(keyGradient + key, steps, c.keyStride, keys, c.queries);
  touch(shifted(valueGradient, value), steps, c.valueStride, values, c.queries);
}
