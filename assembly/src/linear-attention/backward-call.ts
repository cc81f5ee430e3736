/** What the phases of the backward pass share: a block of memory, which a pointer names; and what a block of steps needs. */
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { IDENTITY, packRows, padded, paddedBytes, scaleRows, shifted, touch, zeroRows } from '../state/rows';
import { BLOCK } from '../state/tiles';
import { oneRow } from './backward-rows';
import { packForget } from './recurrent';

@unmanaged
export class BackwardCall {
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
  seqLen: i32;
  nHeads: i32;
  dKey: i32;
  dValue: i32;
  featureMap: i32;
  normalize: i32;
  decayPerStep: i32;
  scale: f32;
  eps: f32;

  /** Whether the gradient of a forget factor has a part from the last state: the last step then comes alone. */
  hasLast: bool;

  // Bytes: of a row of one head, and from one step to the next.
  keyRow: usize;
  valueRow: usize;
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

  // The key channels and value columns that are computed: from where on, how many there are, and padded.
  firstKey: usize;
  keyCount: i32;
  key: i32;
  firstValue: usize;
  valueCount: i32;
  value: i32;

  // The head that is open: its item of the batch, and among all heads of the batch.
  item: i32;
  head: i32;
  index: usize;
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

/** Turns to a head of an item of the batch, and all of it. */
export function openHead(c: BackwardCall, item: i32, head: i32): void {
  c.item = item;
  c.head = head;
  c.index = <usize>(item * c.nHeads + head);
  openKeys(c, 0, 1);
  openValues(c, 0, 1);
}

/** Turns to a piece of its key channels: whole panels of 8, of which the last channels may be lacking. */
export function openKeys(c: BackwardCall, piece: i32, pieces: i32): void {
  c.key = padded(c.dKey) / pieces;
  const first = piece * c.key;
  c.firstKey = (<usize>first) << 2;
  c.keyCount = min(c.key, c.dKey - first);
}

/** And of its value columns. */
export function openValues(c: BackwardCall, piece: i32, pieces: i32): void {
  c.value = padded(c.dValue) / pieces;
  const first = piece * c.value;
  c.firstValue = (<usize>first) << 2;
  c.valueCount = min(c.value, c.dValue - first);
}

/** Steps before a step of the head, in the order of the tensors. */
function stepAt(c: BackwardCall, t: i32): usize {
  return (<usize>c.item * c.seqLen + t) * c.nHeads + c.head;
}

/** Bytes from the start of q to a step's row, from the open channels on. */
export function keyAt(c: BackwardCall, t: i32): usize {
  return stepAt(c, t) * c.keyRow + c.firstKey;
}

/** Bytes from the start of v to a step's row, from the open columns on. */
export function valueAt(c: BackwardCall, t: i32): usize {
  return stepAt(c, t) * c.valueRow + c.firstValue;
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
