/** What the phases of the backward pass share: a block of memory, which a pointer names; and what a block of steps needs. */
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { IDENTITY, packRows, padded, paddedBytes, scaleRows, shifted, touch } from '../state/rows';
import { HeadPiece, keyAt, stepAt, valueAt } from '../state/head-piece';
import { BLOCK } from '../state/tiles';
import { packForgets, packKeys, packNextForgets, packNumbers, packUpstream } from './rows';

@unmanaged
export class BackwardCall extends HeadPiece {
  // Arguments.
  dq: usize;
  dk: usize;
  dv: usize;
  dBeta: usize;
  dDecay: usize;
  dInitialState: usize;
  dO: usize;
  dLastState: usize;
  q: usize;
  k: usize;
  v: usize;
  beta: usize;
  decay: usize;
  initialState: usize;
  l2Normalize: i32;
  scale: f32;
  eps: f32;

  // Bytes: of a padded row of one head, and from one step to the next.
  wholeKeyBytes: usize;
  valueBytes: usize;
  keyStride: usize;
  valueStride: usize;
  stepStride: usize;

  // Rows of a block of steps.
  queries: usize;
  keys: usize; // from the second row on: there is one more on both sides
  keyOut: usize;
  keyOutB: usize;
  forgetRow: usize;
  values: usize;
  upstream: usize;
  valueOut: usize;
  written: usize; // beta e
  betas: usize;
  qk: usize;
  forgets: usize;

  // Of the head that is open.
  decaySum: usize; // f64: the sum of the decay's gradient
  state: usize; // panels of S, then of P
  lastState: usize; // panels of f S before the last step
  transposed: usize; // S, then P
  errors: usize; // e of every step
  slopes: usize; // w of every step
  products: usize; // by step: o . do, without the step's own value
  lastGradient: usize; // panels of P after the last step
  // Where pieces of a head are computed apart: rows of all steps, `valueOut` of a block, and what becomes of dq and dk.
  valueRows: usize;
  queryRows: usize;
  keyRows: usize;
}

/** Lays out the working memory of one thread: of a block of steps, from so many bytes on. What comes next are heads. */
export function layOut(c: BackwardCall, scratch: usize, header: usize, dKey: i32, dValue: i32): void {
  const block = <f64>BLOCK;
  const key = paddedBytes(dKey) / 4;
  const value = (block * paddedBytes(dValue)) / 4;
  startScratch(scratch, header);
  c.queries = takeFloats((block + 2) * key);
  c.keys = takeFloats((block + 2) * key) + <usize>paddedBytes(dKey);
  c.keyOut = takeFloats(block * key);
  c.keyOutB = takeFloats(block * key);
  c.forgetRow = takeFloats(key);
  c.values = takeFloats(value);
  c.upstream = takeFloats(value);
  c.valueOut = takeFloats(value);
  c.written = takeFloats(value);
  c.betas = takeFloats(block);
  c.qk = takeFloats(block);
  c.forgets = takeFloats(block);
}

/** Lays out what belongs to a head. @returns its bytes */
export function layOutHead(c: BackwardCall, at: usize, seqLen: i32, dKey: i32, dValue: i32): f64 {
  const value = paddedBytes(dValue) / 4;
  const state = (paddedBytes(dKey) * value) / 4;
  startScratch(at, 0);
  c.decaySum = takeFloats(16); // whole cache lines
  c.state = takeFloats(state);
  c.lastState = takeFloats(state);
  c.transposed = takeFloats(state);
  c.errors = takeFloats(<f64>seqLen * value);
  c.slopes = takeFloats(<f64>seqLen * value);
  c.products = takeFloats(<f64>seqLen);
  c.lastGradient = c.state;
  return ceil<f64>((scratchEnd() - <f64>at) / 64) * 64;
}

/** Bytes from the start of the states to the open channels and columns of the head's. */
export function stateAt(c: BackwardCall): usize {
  return (c.index * c.dKey + (c.firstKey >> 2)) * c.valueRow + c.firstValue;
}

/** Bytes from the start of a head's panels to those of the open columns. */
export function panelsAt(c: BackwardCall): usize {
  return c.firstValue * padded(c.dKey);
}

export function packQueryRows(c: BackwardCall, t: i32, steps: i32): void {
  packOpenKeys(c, c.queries, c.q, t, steps, c.scale);
}

export function packKeyRows(c: BackwardCall, t: i32, steps: i32): void {
  packOpenKeys(c, c.keys, c.k, t, steps, 1);
}

/** Rows of the open channels; whole ones come first, since they may be normalised. */
function packOpenKeys(c: BackwardCall, target: usize, source: usize, t: i32, steps: i32, factor: f32): void {
  const from = source + stepAt(c, t) * c.keyRow;
  packKeys(target, from, steps, c.keyStride, c.dKey, c.l2Normalize, c.eps, factor);
  const row = (<usize>c.key) << 2;
  if (row == c.wholeKeyBytes) return;
  let whole = target + c.firstKey;
  for (; steps > 0; steps--, target += row, whole += c.wholeKeyBytes) memory.copy(target, whole, row);
}

export function packUpstreamRows(c: BackwardCall, t: i32, steps: i32): void {
  packUpstream(c.upstream, c.dO, stepAt(c, t), steps, c.valueStride, c.dValue);
}

export function packBetas(c: BackwardCall, t: i32, steps: i32): void {
  packNumbers(c.betas, c.beta + (stepAt(c, t) << 2), steps, c.stepStride);
}

export function packForgetNumbers(c: BackwardCall, t: i32, steps: i32): void {
  packForgets(c.forgets, shifted(c.decay, stepAt(c, t) << 2), steps, c.stepStride, c.forgetRow);
}

export function packNextForgetNumbers(c: BackwardCall, t: i32, steps: i32): void {
  packNextForgets(c.forgets, c.decay, stepAt(c, t), t, steps, c.seqLen, c.stepStride, c.forgetRow);
}

/** beta e and -dv of a block, whole rows. */
export function packWrites(c: BackwardCall, t: i32, steps: i32): void {
  memory.copy(c.written, c.errors + <usize>t * c.valueBytes, <usize>steps * c.valueBytes);
  scaleRows(c.written, c.betas, steps, c.value);
  packRows(c.values, c.dv + valueAt(c, t), steps, c.valueStride, c.dValue, IDENTITY, -1);
}

/** Brings rows of some heads near, from the one that is open on, with those of gradients, which may be 0. */
// prettier-ignore
export function touchRows(
  c: BackwardCall, t: i32, steps: i32, heads: i32, value: usize, keyGradient: usize, keyGradientB: usize,
): void {
  const keys = <usize>heads * c.keyRow;
  const values = <usize>heads * c.valueRow;
  const key = keyAt(c, t);
  const at = valueAt(c, t);
  touch(c.q + key, steps, c.keyStride, keys, c.queries);
  touch(c.k + key, steps, c.keyStride, keys, c.queries);
  touch(c.v + at, steps, c.valueStride, values, c.queries);
  touch(shifted(c.dO, at), steps, c.valueStride, values, c.queries);
  touch(shifted(value, at), steps, c.valueStride, values, c.queries);
  touch(shifted(keyGradient, key), steps, c.keyStride, keys, c.queries);
  touch(shifted(keyGradientB, key), steps, c.keyStride, keys, c.queries);
}
