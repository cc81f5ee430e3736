/** Gradients of the delta rule; see ../delta-rule. */
import { deltaPanel, deltaPanelBackward, packPanels, unpackPanels } from './panels';
import { dots, packForgets, packKeys, packNextForgets, packNumbers, packUpstream, unpackKeys } from './rows';
import {
  addRow,
  dot,
  IDENTITY,
  packRows,
  packTransposed,
  padded,
  paddedBytes,
  scaleRows,
  shifted,
  touch,
  unpackRows,
  zeroRows,
} from '../state/rows';
import { advanceTwoReads, advanceTwoWrites, BLOCK } from '../state/tiles';

export function deltaRuleBackwardScratchBytes(seqLen: i32, nHeads: i32, dKey: i32, dValue: i32): f64 {
  const key = paddedBytes(dKey),
    value = paddedBytes(dValue);
  const head = 64 + (3 * key * value) / 4 + (2 * value + 4) * <f64>seqLen;
  return (
    (4 * BLOCK + 5) * key + 4 * BLOCK * value + 3 * BLOCK * 4 + <f64>nHeads * (ceil<f64>(head / 64) * 64)
  );
}

/**
 * Gradients of {@link deltaRuleForward}. Upstream: do, dLastState (each may be 0). dDecay and dInitialState are 0 if
 * not wanted.
 */
// prettier-ignore
export function deltaRuleBackward(
  dq: usize, dk: usize, dv: usize, dBeta: usize, dDecay: usize, dInitialState: usize,
  dO: usize, dLastState: usize,
  q: usize, k: usize, v: usize, beta: usize, decay: usize, initialState: usize,
  seqLen: i32, nHeads: i32, dKey: i32, dValue: i32,
  l2Normalize: i32, scale: f32, eps: f32, scratch: usize, first: i32, count: i32,
): void {
  const key = padded(dKey);
  const value = padded(dValue);
  const keyBytes = (<usize>key) << 2;
  const valueBytes = (<usize>value) << 2;
  const keyRow = (<usize>dKey) << 2;
  const valueRow = (<usize>dValue) << 2;
  const keyStride = keyRow * nHeads;
  const valueStride = valueRow * nHeads;
  const stepStride = (<usize>nHeads) << 2;
  const queries = scratch;
  const keys = queries + <usize>(BLOCK + 2) * keyBytes; // a row more on both sides
  const keyOut = keys + <usize>(BLOCK + 2) * keyBytes;
  const keyOutB = keyOut + <usize>BLOCK * keyBytes;
  const forgetRow = keyOutB + <usize>BLOCK * keyBytes;
  const values = forgetRow + keyBytes;
  const upstream = values + <usize>BLOCK * valueBytes;
  const valueOut = upstream + <usize>BLOCK * valueBytes;
  const written = valueOut + <usize>BLOCK * valueBytes; // beta e
  const betas = written + <usize>BLOCK * valueBytes;
  const qk = betas + ((<usize>BLOCK) << 2);
  const forgets = qk + ((<usize>BLOCK) << 2);
  const headsOfCall = forgets + ((<usize>BLOCK) << 2);
  // Of every head, at these offsets:
  const stateBytes = <usize>key * valueBytes;
  const stateAt: usize = 64; // after the sum of the decay's gradient, f64: panels of S, then of P
  const lastStateAt = stateAt + stateBytes; // panels of f S before the last step
  const transposedAt = lastStateAt + stateBytes; // S, then P
  const errorsAt = transposedAt + stateBytes; // e of every step
  const slopesAt = errorsAt + <usize>seqLen * valueBytes; // w of every step
  const productsAt = slopesAt + <usize>seqLen * valueBytes; // by step: o . do, without the step's own value
  const headBytes = (productsAt + ((<usize>seqLen) << 2) + 63) & ~63;
  for (let b = first / nHeads, h0 = first % nHeads; count > 0; b++, h0 = 0) {
    const endHead = min(nHeads, h0 + count);
    count -= endHead - h0;
    const keyHeads = <usize>(endHead - h0) * keyRow;
    const valueHeads = <usize>(endHead - h0) * valueRow;
    const heads = headsOfCall - <usize>h0 * headBytes;
    // Forwards: e.
    for (let h = h0; h < endHead; h++) {
      const head = heads + <usize>h * headBytes;
      const stateOffset = (<usize>b * <usize>nHeads + <usize>h) * <usize>dKey * valueRow;
      packPanels(head + stateAt, shifted(initialState, stateOffset), valueRow, dKey, dValue);
    }
    for (let t = 0, steps = 0; t < seqLen; t += steps) {
      steps = seqLen - t < BLOCK ? seqLen - t : BLOCK;
      if (dDecay != 0 && t + steps == seqLen && steps > 1) steps--; // the last step comes alone
      const from = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads + <usize>h0;
      touch(q + from * keyRow, steps, keyStride, keyHeads, queries);
      touch(k + from * keyRow, steps, keyStride, keyHeads, queries);
      touch(v + from * valueRow, steps, valueStride, valueHeads, queries);
      touch(shifted(dO, from * valueRow), steps, valueStride, valueHeads, queries);
      for (let h = h0; h < endHead; h++) {
        const head = heads + <usize>h * headBytes;
        const step = from + <usize>(h - h0);
        packKeys(queries, q + step * keyRow, steps, keyStride, dKey, l2Normalize, eps, scale);
        packKeys(keys, k + step * keyRow, steps, keyStride, dKey, l2Normalize, eps, 1);
        packRows(values, v + step * valueRow, steps, valueStride, dValue, IDENTITY, 1);
        packNumbers(betas, beta + (step << 2), steps, stepStride);
        packForgets(forgets, shifted(decay, step << 2), steps, stepStride, forgetRow);
        dots(qk, queries, keys, steps, key);
        if (dDecay != 0 && t == seqLen - 1) {
          const f = load<f32>(forgets);
          for (let i: usize = 0; i < stateBytes; i += 4) store<f32>(head + lastStateAt + i, f * load<f32>(head + stateAt + i));
        }
        const e = head + errorsAt + <usize>t * valueBytes;
        for (let lane: usize = 0; lane < valueBytes; lane += 32) {
          deltaPanel(valueOut + lane, e + lane, head + stateAt + lane * key, queries, keys, values + lane, betas, forgets, qk, steps, key, valueBytes, 0);
        }
        packUpstream(upstream, dO, step, steps, valueStride, dValue);
        dots(head + productsAt + ((<usize>t) << 2), valueOut, upstream, steps, value);
      }
    }

    // Backwards: w, and with it dv, dBeta and dDecay.
    for (let h = h0; h < endHead; h++) {
      const head = heads + <usize>h * headBytes;
      const stateOffset = (<usize>b * <usize>nHeads + <usize>h) * <usize>dKey * valueRow;
      store<f64>(head, 0);
      packPanels(head + stateAt, shifted(dLastState, stateOffset), valueRow, dKey, dValue);
    }
    for (let end = seqLen, steps = 0; end > 0; end -= steps) {
      steps = end < BLOCK ? end : BLOCK;
      if (dDecay != 0 && end == seqLen) steps = 1;
      const t = end - steps;
      const from = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads + <usize>h0;
      touch(q + from * keyRow, steps, keyStride, keyHeads, queries);
      touch(k + from * keyRow, steps, keyStride, keyHeads, queries);
      touch(v + from * valueRow, steps, valueStride, valueHeads, queries);
      touch(shifted(dO, from * valueRow), steps, valueStride, valueHeads, queries);
      touch(dv + from * valueRow, steps, valueStride, valueHeads, queries);
      for (let h = h0; h < endHead; h++) {
        const head = heads + <usize>h * headBytes;
        const step = from + <usize>(h - h0);
        packKeys(queries, q + step * keyRow, steps, keyStride, dKey, l2Normalize, eps, scale);
        packKeys(keys + keyBytes, k + step * keyRow, steps, keyStride, dKey, l2Normalize, eps, 1);
        packUpstream(upstream, dO, step, steps, valueStride, dValue);
        packNumbers(betas, beta + (step << 2), steps, stepStride);
        packNextForgets(forgets, decay, step, t, steps, seqLen, stepStride, forgetRow);
        dots(qk, queries, keys + keyBytes, steps, key);
        const e = head + errorsAt + <usize>t * valueBytes;
        const w = head + slopesAt + <usize>t * valueBytes;
        for (let lane: usize = 0; lane < valueBytes; lane += 32) {
          deltaPanelBackward(w + lane, valueOut + lane, head + stateAt + lane * key, queries, keys + keyBytes, upstream + lane, betas, forgets, qk, steps, key, valueBytes);
        }
        for (let i = steps - 1; i >= 0; i--) {
          const row = <usize>i * valueBytes;
          const index = (step + <usize>i * nHeads) << 2;
          store<f32>(dBeta + index, dot(w + row, e + row, value));
          if (dDecay == 0) continue;
          let decaySum = load<f64>(head);
          if (t + i == seqLen - 1) {
            for (let j: usize = 0; j < stateBytes; j += 4) decaySum += <f64>load<f32>(head + stateAt + j) * <f64>load<f32>(head + lastStateAt + j);
          } else {
            packRows(values, v + (step + <usize>i * nHeads) * valueRow, 1, 0, dValue, IDENTITY, 1);
            decaySum += <f64>load<f32>(head + productsAt + ((<usize>(t + i)) << 2)) - <f64>dot(values, valueOut + row, value);
          }
          store<f64>(head, decaySum);
          store<f32>(dDecay + index, <f32>decaySum);
        }
        memory.copy(written, w, <usize>steps * valueBytes);
        scaleRows(written, betas, steps, value);
        unpackRows(dv + step * valueRow, written, 0, steps, valueStride, dValue, IDENTITY, 1);
      }
    }
    if (dInitialState != 0) {
      for (let h = h0; h < endHead; h++) {
        const head = heads + <usize>h * headBytes;
        const stateOffset = (<usize>b * <usize>nHeads + <usize>h) * <usize>dKey * valueRow;
        packForgets(forgets, shifted(decay, (<usize>b * <usize>seqLen * <usize>nHeads + <usize>h) << 2), 1, 0, forgetRow);
        const f = load<f32>(forgets);
        const state = head + stateAt;
        for (let i: usize = 0; i < stateBytes; i += 4) store<f32>(state + i, f * load<f32>(state + i));
        unpackPanels(dInitialState + stateOffset, valueRow, state, dKey, dValue);
      }
    }

    // Forwards, S transposed: dq, and what dk has from dv.
    for (let h = h0; h < endHead; h++) {
      const head = heads + <usize>h * headBytes;
      const stateOffset = (<usize>b * <usize>nHeads + <usize>h) * <usize>dKey * valueRow;
      packTransposed(head + transposedAt, shifted(initialState, stateOffset), dKey, dValue);
    }
    for (let t = 0; t < seqLen; t += BLOCK) {
      const steps = seqLen - t < BLOCK ? seqLen - t : BLOCK;
      const from = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads + <usize>h0;
      touch(q + from * keyRow, steps, keyStride, keyHeads, queries);
      touch(k + from * keyRow, steps, keyStride, keyHeads, queries);
      touch(shifted(dO, from * valueRow), steps, valueStride, valueHeads, queries);
      touch(dv + from * valueRow, steps, valueStride, valueHeads, queries);
      touch(dq + from * keyRow, steps, keyStride, keyHeads, queries);
      touch(dk + from * keyRow, steps, keyStride, keyHeads, queries);
      for (let h = h0; h < endHead; h++) {
        const head = heads + <usize>h * headBytes;
        const step = from + <usize>(h - h0);
        packKeys(keys, k + step * keyRow, steps, keyStride, dKey, l2Normalize, eps, 1);
        packUpstream(upstream, dO, step, steps, valueStride, dValue);
        packNumbers(betas, beta + (step << 2), steps, stepStride);
        packForgets(forgets, shifted(decay, step << 2), steps, stepStride, forgetRow);
        memory.copy(written, head + errorsAt + <usize>t * valueBytes, <usize>steps * valueBytes);
        scaleRows(written, betas, steps, value);
        packRows(values, dv + step * valueRow, steps, valueStride, dValue, IDENTITY, -1);
        zeroRows(keyOut, steps * key);
        zeroRows(keyOutB, steps * key);
        advanceTwoReads(keyOut, keyOutB, head + transposedAt, upstream, values, written, keys, forgets, steps, value, key);
        for (let i = 0; i < steps; i++) {
          const row = <usize>i * valueBytes;
          addRow(keyOut + <usize>i * keyBytes, keys + <usize>i * keyBytes, dot(upstream + row, written + row, value), key);
        }
        unpackKeys(dq + step * keyRow, keyOut, q + step * keyRow, steps, keyStride, dKey, l2Normalize, eps, scale);
        unpackRows(dk + step * keyRow, keyOutB, 0, steps, keyStride, dKey, IDENTITY, 1);
      }
    }

    // Backwards, P transposed: the rest of dk.
    for (let h = h0; h < endHead; h++) {
      const head = heads + <usize>h * headBytes;
      const stateOffset = (<usize>b * <usize>nHeads + <usize>h) * <usize>dKey * valueRow;
      packTransposed(head + transposedAt, shifted(dLastState, stateOffset), dKey, dValue);
    }
    for (let end = seqLen, steps = 0; end > 0; end -= steps) {
      steps = end < BLOCK ? end : BLOCK;
      const t = end - steps;
      const from = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads + <usize>h0;
      touch(q + from * keyRow, steps, keyStride, keyHeads, queries);
      touch(k + from * keyRow, steps, keyStride, keyHeads, queries);
      touch(shifted(dO, from * valueRow), steps, valueStride, valueHeads, queries);
      touch(dv + from * valueRow, steps, valueStride, valueHeads, queries);
      touch(dk + from * keyRow, steps, keyStride, keyHeads, queries);
      for (let h = h0; h < endHead; h++) {
        const head = heads + <usize>h * headBytes;
        const step = from + <usize>(h - h0);
        packKeys(queries, q + step * keyRow, steps, keyStride, dKey, l2Normalize, eps, scale);
        packKeys(keys, k + step * keyRow, steps, keyStride, dKey, l2Normalize, eps, 1);
        packUpstream(upstream, dO, step, steps, valueStride, dValue);
        packNumbers(betas, beta + (step << 2), steps, stepStride);
        packNextForgets(forgets, decay, step, t, steps, seqLen, stepStride, forgetRow);
        memory.copy(written, head + errorsAt + <usize>t * valueBytes, <usize>steps * valueBytes);
        scaleRows(written, betas, steps, value);
        packRows(values, dv + step * valueRow, steps, valueStride, dValue, IDENTITY, -1);
        packRows(keyOut, dk + step * keyRow, steps, keyStride, dKey, IDENTITY, 1);
        advanceTwoWrites(keyOut, head + transposedAt, written, upstream, queries, values, keys, forgets, steps, value, key);
        for (let i = 0; i < steps; i++) {
          const row = <usize>i * valueBytes;
          addRow(keyOut + <usize>i * keyBytes, queries + <usize>i * keyBytes, dot(upstream + row, written + row, value), key);
        }
        unpackKeys(dk + step * keyRow, keyOut, k + step * keyRow, steps, keyStride, dKey, l2Normalize, eps, 1);
      }
    }
  }
}
