/** The passes of the backward pass over blocks of steps, on what is open of a head: see backward.ts. */
import {
  addRow,
  dot,
  IDENTITY,
  ownRows,
  packRows,
  packState,
  packTransposed,
  scaleRows,
  shifted,
  unpackRows,
  unpackState,
  zeroRows,
} from '../state/rows';
import { advance, ALONG_COLUMNS, ALONG_ROWS, BLOCK } from '../state/tiles';
import {
  BackwardCall,
  decayAt,
  normalizerAt,
  packForgets,
  packKeys,
  packUpstream,
  packValues,
  stateAt,
} from './backward-call';
import { keyAt, valueAt } from '../state/head-piece';
import {
  accumulate,
  addProducts,
  lastProducts,
  mixRow,
  normalizerRows,
  rowSum,
  scaleElements,
} from './backward-rows';
import { packVector } from './recurrent';

/** How many steps from t on make a block of the reads. */
export function stepsFrom(c: BackwardCall, t: i32): i32 {
  const steps = min(c.seqLen - t, BLOCK);
  return c.hasLast && t + steps == c.seqLen && steps > 1 ? steps - 1 : steps; // the last step comes alone
}

export function startReads(c: BackwardCall): void {
  packTransposed(c.stateT, shifted(c.initialState, stateAt(c)), c.valueRow, c.keyCount, c.dValue);
  packVector(c.z, shifted(c.initialNormalizer, normalizerAt(c)), c.keyCount);
  packDz(c);
  packDStateT(c);
}

export function packDz(c: BackwardCall): void {
  packVector(c.dz, shifted(c.dLastNormalizer, normalizerAt(c)), c.keyCount);
}

export function packDStateT(c: BackwardCall): void {
  packTransposed(c.dStateT, shifted(c.dLastState, stateAt(c)), c.valueRow, c.keyCount, c.dValue);
}

export function startWrites(c: BackwardCall): void {
  packState(c.dState, shifted(c.dLastState, stateAt(c)), c.valueRow, c.dKey, c.valueCount);
}

/** Moves S over a block: `keyOut` becomes S do without each step's own update, `keyExtra` z without it. */
// prettier-ignore
export function readBlock(c: BackwardCall, t: i32, steps: i32): void {
  packKeys(c, t, steps);
  packValues(c, t, steps);
  packUpstream(c, t, steps);
  packForgets(c, t, steps);
  if (c.hasLast && t == c.seqLen - 1) {
    lastProducts(c.lastRow + c.firstKey, c.dStateT, c.stateT, c.dz, c.z, c.forget, c.key, c.value);
  }
  zeroRows(c.keyOut, steps * c.key);
  advance(c.keyOut, c.stateT, c.upstream, c.values, c.keys, c.forget, ALONG_COLUMNS, steps, c.value, c.key, 1);
  if (c.normalize) normalizerRows(c.keyExtra, c.z, c.keys, c.forget, steps, c.key);
}

/** dq of a block, and what is kept of each step; changes `keyOut` and `keyExtra`. */
// prettier-ignore
export function finishReads(c: BackwardCall, t: i32, steps: i32): void {
  const key = c.key;
  const value = c.value;
  const keyBytes = <usize>key << 2;
  const valueBytes = <usize>value << 2;
  for (let i = 0; i < steps; i++) {
    const query = c.queries + <usize>i * keyBytes;
    const keyI = c.keys + <usize>i * keyBytes;
    const out = c.keyOut + <usize>i * keyBytes;
    const extra = c.keyExtra + <usize>i * keyBytes;
    const at = (<usize>(t + i)) << 2;
    let own = dot(c.upstream + <usize>i * valueBytes, c.values + <usize>i * valueBytes, value);
    if (c.normalize) {
      const qk = dot(query, keyI, key);
      const inverse: f32 = 1 / (dot(query, extra, key) + qk + c.eps);
      const dDenominator = -(dot(query, out, key) + own * qk) * inverse * inverse;
      store<f32>(c.inverses + at, inverse);
      store<f32>(c.dDenominators + at, dDenominator);
      mixRow(out, inverse, extra, dDenominator, key);
      own = own * inverse + dDenominator;
    }
    store<f32>(c.owns + at, own);
    if (c.dDecay != 0) store<f64>(c.decayProducts + 2 * at, <f64>dot(query, out, key));
    if (c.dGate != 0) {
      zeroRows(extra, key);
      addProducts(extra, query, out, 1, key);
    }
    addRow(out, keyI, own, key);
  }
  const offset = keyAt(c, t);
  unpackRows(c.dq + offset, c.keyOut, c.q + offset, steps, c.keyStride, c.dKey, c.featureMap, c.scale);
  if (c.dGate != 0) unpackRows(c.dGate + offset, c.keyExtra, 0, steps, c.keyStride, c.dKey, IDENTITY, 1);
}

/** The sums over steps, from the last one on. */
export function startSums(c: BackwardCall): void {
  zeroRows(c.gateSums, c.key * 2);
  store<f64>(c.decaySum, 0);
  store<f64>(c.headSum, 0);
  if (!c.hasLast) return;
  store<f64>(c.decaySum, <f64>rowSum(c.lastRow, c.key));
  accumulate(c.gateSums, c.lastRow, c.key);
}

/** dv of a block. */
// prettier-ignore
export function valueGradients(c: BackwardCall, t: i32, steps: i32): void {
  ownRows(c.valueOut, c.queries, c.keys, c.upstream, steps, c.key, c.value);
  advance(c.valueOut, c.dState, c.keys, c.queries, c.upstream, c.forget, ALONG_ROWS, steps, c.key, c.value, -1);
  unpackRows(c.dv + valueAt(c, t), c.valueOut, 0, steps, c.valueStride, c.valueCount, IDENTITY, 1);
}

/** Moves dS over a block: `keyOut` becomes dS v without each step's own update. */
// prettier-ignore
export function keyReads(c: BackwardCall, steps: i32): void {
  zeroRows(c.keyOut, steps * c.key);
  advance(c.keyOut, c.dStateT, c.values, c.upstream, c.queries, c.forget, ALONG_COLUMNS, steps, c.value, c.key, -1);
}

/** dk of a block, with the gradients of decays and gates; changes `keyOut`. */
// prettier-ignore
export function finishWrites(c: BackwardCall, t: i32, steps: i32): void {
  const key = c.key;
  const keyBytes = <usize>key << 2;
  const offset = keyAt(c, t);
  if (c.dGate != 0) packRows(c.keyExtra, c.dGate + offset, steps, c.keyStride, c.dKey, IDENTITY, 1);
  for (let i = steps - 1; i >= 0; i--) {
    const query = c.queries + <usize>i * keyBytes;
    const keyI = c.keys + <usize>i * keyBytes;
    const out = c.keyOut + <usize>i * keyBytes;
    const extra = c.keyExtra + <usize>i * keyBytes;
    const at = (<usize>(t + i)) << 2;
    if (c.normalize) {
      if (c.forget != 0) scaleElements(c.dz, c.forget + <usize>i * keyBytes, key);
      addRow(out, c.dz, 1, key);
      addRow(c.dz, query, load<f32>(c.dDenominators + at), key);
    }
    const fromLast = c.hasLast && t + i == c.seqLen - 1; // already in the sums
    if (c.dDecay != 0) {
      let decaySum = load<f64>(c.decaySum) + load<f64>(c.decayProducts + 2 * at);
      if (!fromLast) decaySum -= <f64>dot(keyI, out, key);
      store<f64>(c.decaySum, decaySum);
      if (c.decayPerStep) store<f32>(c.dDecay + decayAt(c, t + i), <f32>decaySum);
      else store<f64>(c.headSum, load<f64>(c.headSum) + decaySum);
    }
    if (c.dGate != 0) {
      if (!fromLast) addProducts(extra, keyI, out, -1, key);
      accumulate(c.gateSums, extra, key);
    }
    addRow(out, query, load<f32>(c.owns + at), key);
  }
  unpackRows(c.dk + offset, c.keyOut, c.k + offset, steps, c.keyStride, c.dKey, c.featureMap, 1);
  if (c.dGate != 0) unpackRows(c.dGate + offset, c.keyExtra, 0, steps, c.keyStride, c.dKey, IDENTITY, 1);
}

/** dInitialState, from dS at the first step. */
export function finishState(c: BackwardCall): void {
  if (c.dInitialState == 0) return;
  packForgets(c, 0, 1);
  if (c.forget != 0) {
    // One number for each row of the state.
    scaleRows(c.dState, c.forget, c.dKey, c.value);
  }
  unpackState(c.dInitialState + stateAt(c), c.valueRow, c.dState, c.dKey, c.valueCount);
}

/** What else of a head is no matter of its steps. */
export function finishHead(c: BackwardCall): void {
  if (c.dDecay != 0 && !c.decayPerStep) store<f32>(c.dDecay + (c.index << 2), <f32>load<f64>(c.headSum));
  if (c.dInitialNormalizer == 0) return;
  packForgets(c, 0, 1);
  if (c.forget != 0) scaleElements(c.dz, c.forget, c.key);
  memory.copy(c.dInitialNormalizer + normalizerAt(c), c.dz, c.keyRow);
}
