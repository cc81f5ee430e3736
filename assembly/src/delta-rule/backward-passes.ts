/** The passes of the backward pass over blocks of steps, on what is open of a head: see backward.ts. */
import {
  addRow,
  dot,
  IDENTITY,
  packRows,
  packTransposed,
  scaleRows,
  shifted,
  unpackRows,
  zeroRows,
} from '../state/rows';
import { advanceTwoReads, advanceTwoWrites, BLOCK } from '../state/tiles';
import {
  BackwardCall,
  packBetas,
  packForgetNumbers,
  packKeyRows,
  packNextForgetNumbers,
  packQueryRows,
  packUpstreamRows,
  packWrites,
  panelsAt,
  stateAt,
} from './backward-call';
import { keyAt, stepAt, valueAt } from '../state/head-piece';
import { deltaPanel, deltaPanelBackward, packPanels, unpackPanels } from './panels';
import { dots, unpackKeys } from './rows';

/** How many steps from t on make a block. */
export function stepsFrom(c: BackwardCall, t: i32): i32 {
  const steps = min(c.seqLen - t, BLOCK);
  return c.dDecay != 0 && t + steps == c.seqLen && steps > 1 ? steps - 1 : steps; // the last step comes alone
}

/** How many steps make a block before one: the same, but for where blocks start. */
export function stepsBefore(c: BackwardCall, end: i32): i32 {
  return c.dDecay != 0 && end == c.seqLen ? 1 : min(end, BLOCK);
}

// Forwards: e.

export function startErrors(c: BackwardCall): void {
  const state = shifted(c.initialState, stateAt(c));
  packPanels(c.state + panelsAt(c), state, c.valueRow, c.dKey, c.valueCount);
}

// prettier-ignore
export function errorsOfBlock(c: BackwardCall, t: i32, steps: i32): void {
  packQueryRows(c, t, steps);
  packKeyRows(c, t, steps);
  packRows(c.values, c.v + stepAt(c, t) * c.valueRow, steps, c.valueStride, c.dValue, IDENTITY, 1);
  packBetas(c, t, steps);
  packForgetNumbers(c, t, steps);
  dots(c.qk, c.queries, c.keys, steps, c.key);
  if (c.dDecay != 0 && t == c.seqLen - 1) {
    const f = load<f32>(c.forgets);
    const at = panelsAt(c);
    for (let i: usize = at, end = at + (<usize>c.key * c.value << 2); i < end; i += 4) {
      store<f32>(c.lastState + i, f * load<f32>(c.state + i));
    }
  }
  const e = c.errors + <usize>t * c.valueBytes;
  for (let lane = c.firstValue, end = lane + (<usize>c.value << 2); lane < end; lane += 32) {
    deltaPanel(c.valueOut + lane, e + lane, c.state + lane * c.key, c.queries, c.keys, c.values + lane, c.betas, c.forgets, c.qk, steps, c.key, c.valueBytes, 0);
  }
}

export function productsOfBlock(c: BackwardCall, t: i32, steps: i32): void {
  packUpstreamRows(c, t, steps);
  dots(c.products + ((<usize>t) << 2), c.valueOut, c.upstream, steps, c.value);
}

// Backwards: w, and with it dv, dBeta and dDecay.

export function startSlopes(c: BackwardCall): void {
  packPanels(c.state + panelsAt(c), shifted(c.dLastState, stateAt(c)), c.valueRow, c.dKey, c.valueCount);
}

// prettier-ignore
export function slopesOfBlock(c: BackwardCall, t: i32, steps: i32): void {
  packQueryRows(c, t, steps);
  packKeyRows(c, t, steps);
  packUpstreamRows(c, t, steps);
  packBetas(c, t, steps);
  packNextForgetNumbers(c, t, steps);
  dots(c.qk, c.queries, c.keys, steps, c.key);
  const w = c.slopes + <usize>t * c.valueBytes;
  const row = <usize>c.value << 2;
  for (let lane = c.firstValue, end = lane + row; lane < end; lane += 32) {
    deltaPanelBackward(w + lane, c.valueOut + lane, c.state + lane * c.key, c.queries, c.keys, c.upstream + lane, c.betas, c.forgets, c.qk, steps, c.key, c.valueBytes);
  }
  for (let i: usize = 0; i < <usize>steps; i++) {
    memory.copy(c.written + i * row, w + i * c.valueBytes + c.firstValue, row);
  }
  scaleRows(c.written, c.betas, steps, c.value);
  unpackRows(c.dv + valueAt(c, t), c.written, 0, steps, c.valueStride, c.valueCount, IDENTITY, 1);
}

/** dBeta and dDecay of a block, from whole rows. */
// prettier-ignore
export function stepGradients(c: BackwardCall, t: i32, steps: i32): void {
  const step = stepAt(c, t);
  const e = c.errors + <usize>t * c.valueBytes;
  const w = c.slopes + <usize>t * c.valueBytes;
  for (let i = steps - 1; i >= 0; i--) {
    const row = <usize>i * c.valueBytes;
    const index = (step + <usize>i * c.nHeads) << 2;
    store<f32>(c.dBeta + index, dot(w + row, e + row, c.value));
    if (c.dDecay == 0) continue;
    let decaySum = load<f64>(c.decaySum);
    if (t + i == c.seqLen - 1) {
      for (let j: usize = 0, end = <usize>c.key * c.valueBytes; j < end; j += 4) {
        decaySum += <f64>load<f32>(c.lastGradient + j) * <f64>load<f32>(c.lastState + j);
      }
    } else {
      packRows(c.values, c.v + (step + <usize>i * c.nHeads) * c.valueRow, 1, 0, c.dValue, IDENTITY, 1);
      decaySum += <f64>load<f32>(c.products + (<usize>(t + i) << 2)) - <f64>dot(c.values, c.valueOut + row, c.value);
    }
    store<f64>(c.decaySum, decaySum);
    store<f32>(c.dDecay + index, <f32>decaySum);
  }
}

/** dInitialState, from P at the first step. */
export function finishState(c: BackwardCall): void {
  if (c.dInitialState == 0) return;
  packForgetNumbers(c, 0, 1);
  const f = load<f32>(c.forgets);
  const state = c.state + panelsAt(c);
  const bytes = (<usize>c.key * c.value) << 2;
  for (let i: usize = 0; i < bytes; i += 4) store<f32>(state + i, f * load<f32>(state + i));
  unpackPanels(c.dInitialState + stateAt(c), c.valueRow, state, c.dKey, c.valueCount);
}

// Forwards, S transposed: dq, and what dk has from dv.

export function startReads(c: BackwardCall): void {
  packTransposed(c.transposed, shifted(c.initialState, stateAt(c)), c.valueRow, c.keyCount, c.dValue);
}

// prettier-ignore
export function readsOfBlock(c: BackwardCall, t: i32, steps: i32): void {
  packKeyRows(c, t, steps);
  packUpstreamRows(c, t, steps);
  packBetas(c, t, steps);
  packForgetNumbers(c, t, steps);
  packWrites(c, t, steps);
  zeroRows(c.keyOut, steps * c.key);
  zeroRows(c.keyOutB, steps * c.key);
  advanceTwoReads(c.keyOut, c.keyOutB, c.transposed, c.upstream, c.values, c.written, c.keys, c.forgets, steps, c.value, c.key);
  addOwn(c, c.keys, steps);
  unpackRows(c.dk + keyAt(c, t), c.keyOutB, 0, steps, c.keyStride, c.keyCount, IDENTITY, 1);
}

/** What a step's own update gives to the rows of its query or key: `do . beta e` times the other. */
function addOwn(c: BackwardCall, rows: usize, steps: i32): void {
  const keyBytes = (<usize>c.key) << 2;
  for (let i: usize = 0; i < <usize>steps; i++) {
    const row = i * c.valueBytes;
    const own = dot(c.upstream + row, c.written + row, c.value);
    addRow(c.keyOut + i * keyBytes, rows + i * keyBytes, own, c.key);
  }
}

/** dq of a block, from `keyOut`, which it changes. */
// prettier-ignore
export function finishQueries(c: BackwardCall, t: i32, steps: i32): void {
  const at = keyAt(c, t);
  unpackKeys(c.dq + at, c.keyOut, c.q + at, steps, c.keyStride, c.dKey, c.l2Normalize, c.eps, c.scale);
}

// Backwards, P transposed: the rest of dk.

export function startWrites(c: BackwardCall): void {
  packTransposed(c.transposed, shifted(c.dLastState, stateAt(c)), c.valueRow, c.keyCount, c.dValue);
}

// prettier-ignore
export function writesOfBlock(c: BackwardCall, t: i32, steps: i32): void {
  packQueryRows(c, t, steps);
  packKeyRows(c, t, steps);
  packUpstreamRows(c, t, steps);
  packBetas(c, t, steps);
  packNextForgetNumbers(c, t, steps);
  packWrites(c, t, steps);
  packRows(c.keyOut, c.dk + keyAt(c, t), steps, c.keyStride, c.keyCount, IDENTITY, 1);
  advanceTwoWrites(c.keyOut, c.transposed, c.written, c.upstream, c.queries, c.values, c.keys, c.forgets, steps, c.value, c.key);
  addOwn(c, c.queries, steps);
}

/** dk of a block, from `keyOut`, which it changes. */
// prettier-ignore
export function finishKeys(c: BackwardCall, t: i32, steps: i32): void {
  const at = keyAt(c, t);
  unpackKeys(c.dk + at, c.keyOut, c.k + at, steps, c.keyStride, c.dKey, c.l2Normalize, c.eps, 1);
}
