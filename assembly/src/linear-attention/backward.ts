/** Gradients of linear attention; see ../linear-attention. */
import { madd, sum } from '../simd';
import { packForget, packVector } from './recurrent';
import {
  addRow,
  dot,
  IDENTITY,
  ownRows,
  packRows,
  packState,
  packTransposed,
  padded,
  paddedBytes,
  scaleRows,
  shifted,
  touch,
  unpackRows,
  unpackState,
  zeroRows,
} from '../state/rows';
import { advance, ALONG_COLUMNS, ALONG_ROWS, BLOCK } from '../state/tiles';

/** Rows of z before each step's own update, decayed; z moves over the block. */
function normalizerRows(rows: usize, z: usize, k: usize, forget: usize, steps: i32, size: i32): void {
  const row = (<usize>size) << 2;
  for (let t = 0; t < steps; t++) {
    for (let i: usize = 0; i < row; i += 16) {
      let zi = v128.load(z + i);
      if (forget != 0) zi = f32x4.mul(zi, v128.load(forget + i));
      v128.store(rows + i, zi);
      v128.store(z + i, f32x4.add(zi, v128.load(k + i)));
    }
    rows += row;
    k += row;
    if (forget != 0) forget += row;
  }
}

/**
 * Gradient of the forget factors' logs at the last step, from the upstream of the last state:
 * out = f (sum over values of dS S, + dz z), states transposed and as they were before that step.
 */
// prettier-ignore
function lastProducts(out: usize, dState: usize, state: usize, dz: usize, z: usize, forget: usize, key: i32, value: i32): void {
  const row = (<usize>key) << 2;
  for (let i: usize = 0; i < row; i += 16) {
    let acc = f32x4.mul(v128.load(dz + i), v128.load(z + i));
    const end = <usize>value * row + i;
    for (let j = i; j < end; j += row) acc = madd(v128.load(dState + j), v128.load(state + j), acc);
    v128.store(out + i, f32x4.mul(acc, v128.load(forget + i)));
  }
}

/** out = x factor + y factorY, padded rows in place of x. */
function mixRow(x: usize, factor: f32, y: usize, factorY: f32, size: i32): void {
  const fx = f32x4.splat(factor);
  const fy = f32x4.splat(factorY);
  for (const end = x + ((<usize>size) << 2); x < end; x += 16, y += 16) {
    v128.store(x, madd(fy, v128.load(y), f32x4.mul(fx, v128.load(x))));
  }
}

/** out += x y (sign 1) or -= x y (sign -1), padded rows, element by element. */
function addProducts(out: usize, x: usize, y: usize, sign: f32, size: i32): void {
  const s = f32x4.splat(sign);
  for (const end = out + ((<usize>size) << 2); out < end; out += 16, x += 16, y += 16) {
    v128.store(out, madd(f32x4.mul(s, v128.load(x)), v128.load(y), v128.load(out)));
  }
}

/** sums += row, then row = sums: suffix sums kept in double. */
function accumulate(sums: usize, row: usize, size: i32): void {
  for (const end = row + ((<usize>size) << 2); row < end; row += 8, sums += 16) {
    const total = f64x2.add(v128.load(sums), f64x2.promote_low_f32x4(v128.load64_zero(row)));
    v128.store(sums, total);
    v128.store_lane<f64>(row, f32x4.demote_f64x2_zero(total), 0);
  }
}

/** x *= y, padded rows, element by element. */
function scaleElements(x: usize, y: usize, size: i32): void {
  for (const end = x + ((<usize>size) << 2); x < end; x += 16, y += 16) {
    v128.store(x, f32x4.mul(v128.load(x), v128.load(y)));
  }
}

function oneRow(x: usize, size: i32): void {
  for (const end = x + ((<usize>size) << 2); x < end; x += 4) store<f32>(x, 1);
}

/** Sum of a padded row. */
function rowSum(x: usize, size: i32): f32 {
  let acc = f32x4.splat(0);
  for (const end = x + ((<usize>size) << 2); x < end; x += 16) acc = f32x4.add(acc, v128.load(x));
  return sum(acc);
}

export function linearAttentionBackwardScratchBytes(seqLen: i32, nHeads: i32, dKey: i32, dValue: i32): f64 {
  const key = paddedBytes(dKey),
    value = paddedBytes(dValue);
  const head = 5 * key + 16 + (3 * key * value) / 4 + 20 * <f64>seqLen;
  return (5 * BLOCK + 1) * key + 3 * BLOCK * value + <f64>nHeads * (ceil<f64>(head / 64) * 64);
}

/**
 * Gradients of {@link linearAttentionForward}. Upstream: do, dLastState, dLastNormalizer (each may be 0). dDecay,
 * dGate, dInitialState, dInitialNormalizer are 0 if not wanted.
 */
// prettier-ignore
export function linearAttentionBackward(
  dq: usize, dk: usize, dv: usize, dDecay: usize, dGate: usize, dInitialState: usize, dInitialNormalizer: usize,
  dO: usize, dLastState: usize, dLastNormalizer: usize,
  q: usize, k: usize, v: usize, decay: usize, gate: usize, initialState: usize, initialNormalizer: usize,
  seqLen: i32, nHeads: i32, dKey: i32, dValue: i32,
  featureMap: i32, normalize: i32, decayPerStep: i32, scale: f32, eps: f32, scratch: usize, first: i32, count: i32,
): void {
  const key = padded(dKey);
  const value = padded(dValue);
  const keyBytes = (<usize>key) << 2;
  const valueBytes = (<usize>value) << 2;
  const keyRow = (<usize>dKey) << 2;
  const valueRow = (<usize>dValue) << 2;
  const keyStride = keyRow * nHeads;
  const valueStride = valueRow * nHeads;
  const decayStride = decayPerStep ? (<usize>nHeads) << 2 : 0;
  const queries = scratch;
  const keys = queries + <usize>BLOCK * keyBytes;
  const keyOut = keys + <usize>BLOCK * keyBytes;
  const keyExtra = keyOut + <usize>BLOCK * keyBytes; // z before each step, then q dq of each key channel
  const values = keyExtra + <usize>BLOCK * keyBytes;
  const upstream = values + <usize>BLOCK * valueBytes;
  const valueOut = upstream + <usize>BLOCK * valueBytes;
  const forgets = valueOut + <usize>BLOCK * valueBytes;
  const headsOfCall = forgets + <usize>(BLOCK + 1) * keyBytes;
  // Of every head, at these offsets:
  const stateBytes = <usize>key * valueBytes;
  // first of all, f64, one a key channel: suffix sums of the gate's gradient
  const decaySumAt = keyBytes * 2; // f64: that of the decay's
  const headSumAt = decaySumAt + 8; // f64: and its sum over the steps
  const stateTAt = headSumAt + 8; // S transposed
  const dStateAt = stateTAt + stateBytes;
  const dStateTAt = dStateAt + stateBytes;
  const zAt = dStateTAt + stateBytes;
  const dzAt = zAt + keyBytes;
  const lastRowAt = dzAt + keyBytes;
  const decayProductsAt = lastRowAt + keyBytes; // f64, by step: q dq
  const inversesAt = decayProductsAt + ((<usize>seqLen) << 3); // by step: 1 / denominator
  const dDenominatorsAt = inversesAt + ((<usize>seqLen) << 2);
  const ownsAt = dDenominatorsAt + ((<usize>seqLen) << 2); // by step: gradient of q[t] . k[t]
  const headBytes = (ownsAt + ((<usize>seqLen) << 2) + 63) & ~63;
  const hasForget = decay != 0 || gate != 0;
  const hasLast = hasForget && (dLastState != 0 || dLastNormalizer != 0);
  for (let b = first / nHeads, h0 = first % nHeads; count > 0; b++, h0 = 0) {
    const endHead = min(nHeads, h0 + count);
    count -= endHead - h0;
    const keyHeads = <usize>(endHead - h0) * keyRow;
    const valueHeads = <usize>(endHead - h0) * valueRow;
    const heads = headsOfCall - <usize>h0 * headBytes;
    for (let h = h0; h < endHead; h++) {
      const head = heads + <usize>h * headBytes;
      const index = <usize>(b * nHeads + h);
      const stateOffset = index * <usize>dKey * valueRow;
      packTransposed(head + stateTAt, shifted(initialState, stateOffset), dKey, dValue);
      packState(head + dStateAt, shifted(dLastState, stateOffset), valueRow, dKey, dValue);
      packTransposed(head + dStateTAt, shifted(dLastState, stateOffset), dKey, dValue);
      packVector(head + zAt, shifted(initialNormalizer, index * keyRow), dKey);
      packVector(head + dzAt, shifted(dLastNormalizer, index * keyRow), dKey);
      zeroRows(head, <i32>(stateTAt >> 2)); // the sums
    }

    for (let t = 0, steps = 0; t < seqLen; t += steps) {
      steps = seqLen - t < BLOCK ? seqLen - t : BLOCK;
      if (hasLast && t + steps == seqLen && steps > 1) steps--; // the last step comes alone
      const from = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads + <usize>h0;
      touch(q + from * keyRow, steps, keyStride, keyHeads, queries);
      touch(k + from * keyRow, steps, keyStride, keyHeads, queries);
      touch(v + from * valueRow, steps, valueStride, valueHeads, queries);
      touch(shifted(dO, from * valueRow), steps, valueStride, valueHeads, queries);
      touch(dq + from * keyRow, steps, keyStride, keyHeads, queries);
      for (let h = h0; h < endHead; h++) {
        const head = heads + <usize>h * headBytes;
        const step = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads + <usize>h;
        const keyOffset = step * keyRow;
        const valueOffset = step * valueRow;
        packRows(queries, q + keyOffset, steps, keyStride, dKey, featureMap, scale);
        packRows(keys, k + keyOffset, steps, keyStride, dKey, featureMap, 1);
        packRows(values, v + valueOffset, steps, valueStride, dValue, IDENTITY, 1);
        if (dO == 0) zeroRows(upstream, steps * value);
        else packRows(upstream, dO + valueOffset, steps, valueStride, dValue, IDENTITY, 1);
        const decayRow = shifted(decay, (decayPerStep ? step : <usize>h) << 2);
        const gateRow = shifted(gate, keyOffset);
        const forget = packForget(forgets, decayRow, decayStride, gateRow, keyStride, steps, dKey);
        if (hasLast && t == seqLen - 1) lastProducts(head + lastRowAt, head + dStateTAt, head + stateTAt, head + dzAt, head + zAt, forget, key, value);
        zeroRows(keyOut, steps * key);
        advance(keyOut, head + stateTAt, upstream, values, keys, forget, ALONG_COLUMNS, steps, value, key, 1);
        if (normalize) normalizerRows(keyExtra, head + zAt, keys, forget, steps, key);
        for (let i = 0; i < steps; i++) {
          const query = queries + <usize>i * keyBytes;
          const keyI = keys + <usize>i * keyBytes;
          const out = keyOut + <usize>i * keyBytes;
          const extra = keyExtra + <usize>i * keyBytes;
          const at = (<usize>(t + i)) << 2;
          let own = dot(upstream + <usize>i * valueBytes, values + <usize>i * valueBytes, value);
          if (normalize) {
            const qk = dot(query, keyI, key);
            const inverse: f32 = 1 / (dot(query, extra, key) + qk + eps);
            const dDenominator = -(dot(query, out, key) + own * qk) * inverse * inverse;
            store<f32>(head + inversesAt + at, inverse);
            store<f32>(head + dDenominatorsAt + at, dDenominator);
            mixRow(out, inverse, extra, dDenominator, key);
            own = own * inverse + dDenominator;
          }
          store<f32>(head + ownsAt + at, own);
          if (dDecay != 0) store<f64>(head + decayProductsAt + 2 * at, <f64>dot(query, out, key));
          if (dGate != 0) {
            zeroRows(extra, key);
            addProducts(extra, query, out, 1, key);
          }
          addRow(out, keyI, own, key);
        }
        unpackRows(dq + keyOffset, keyOut, q + keyOffset, steps, keyStride, dKey, featureMap, scale);
        if (dGate != 0) unpackRows(dGate + keyOffset, keyExtra, 0, steps, keyStride, dKey, IDENTITY, 1);
      }
    }

    if (hasLast) {
      for (let h = h0; h < endHead; h++) {
        const head = heads + <usize>h * headBytes;
        store<f64>(head + decaySumAt, <f64>rowSum(head + lastRowAt, key));
        accumulate(head, head + lastRowAt, key);
      }
    }
    for (let end = seqLen, steps = 0; end > 0; end -= steps) {
      steps = end < BLOCK ? end : BLOCK;
      const t = end - steps;
      const from = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads + <usize>h0;
      touch(q + from * keyRow, steps, keyStride, keyHeads, queries);
      touch(k + from * keyRow, steps, keyStride, keyHeads, queries);
      touch(v + from * valueRow, steps, valueStride, valueHeads, queries);
      touch(shifted(dO, from * valueRow), steps, valueStride, valueHeads, queries);
      touch(dk + from * keyRow, steps, keyStride, keyHeads, queries);
      touch(dv + from * valueRow, steps, valueStride, valueHeads, queries);
      for (let h = h0; h < endHead; h++) {
        const head = heads + <usize>h * headBytes;
        const step = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads + <usize>h;
        const keyOffset = step * keyRow;
        const valueOffset = step * valueRow;
        packRows(queries, q + keyOffset, steps, keyStride, dKey, featureMap, scale);
        packRows(keys, k + keyOffset, steps, keyStride, dKey, featureMap, 1);
        packRows(values, v + valueOffset, steps, valueStride, dValue, IDENTITY, 1);
        if (dO == 0) zeroRows(upstream, steps * value);
        else packRows(upstream, dO + valueOffset, steps, valueStride, dValue, IDENTITY, 1);
        if (normalize) scaleRows(upstream, head + inversesAt + ((<usize>t) << 2), steps, value);
        // A gradient's state is forgotten by the factors of the next step, which the last step has not.
        const forgetRows = end < seqLen ? steps + 1 : steps;
        const decayRow = shifted(decay, (decayPerStep ? step : <usize>h) << 2);
        const gateRow = shifted(gate, keyOffset);
        let forget = packForget(forgets, decayRow, decayStride, gateRow, keyStride, forgetRows, dKey);
        if (forget != 0) {
          forget += keyBytes;
          if (forgetRows == steps) oneRow(forgets + <usize>steps * keyBytes, key);
        }
        ownRows(valueOut, queries, keys, upstream, steps, key, value);
        advance(valueOut, head + dStateAt, keys, queries, upstream, forget, ALONG_ROWS, steps, key, value, -1);
        unpackRows(dv + valueOffset, valueOut, 0, steps, valueStride, dValue, IDENTITY, 1);
        zeroRows(keyOut, steps * key);
        advance(keyOut, head + dStateTAt, values, upstream, queries, forget, ALONG_COLUMNS, steps, value, key, -1);
        if (dGate != 0) packRows(keyExtra, dGate + keyOffset, steps, keyStride, dKey, IDENTITY, 1);
        for (let i = steps - 1; i >= 0; i--) {
          const query = queries + <usize>i * keyBytes;
          const keyI = keys + <usize>i * keyBytes;
          const out = keyOut + <usize>i * keyBytes;
          const extra = keyExtra + <usize>i * keyBytes;
          const at = (<usize>(t + i)) << 2;
          if (normalize) {
            if (forget != 0) scaleElements(head + dzAt, forget + <usize>i * keyBytes, key);
            addRow(out, head + dzAt, 1, key);
            addRow(head + dzAt, query, load<f32>(head + dDenominatorsAt + at), key);
          }
          const fromLast = hasLast && t + i == seqLen - 1; // already in the head
          if (dDecay != 0) {
            let decaySum = load<f64>(head + decaySumAt) + load<f64>(head + decayProductsAt + 2 * at);
            if (!fromLast) decaySum -= <f64>dot(keyI, out, key);
            store<f64>(head + decaySumAt, decaySum);
            if (decayPerStep) store<f32>(dDecay + ((step + <usize>i * nHeads) << 2), <f32>decaySum);
            else store<f64>(head + headSumAt, load<f64>(head + headSumAt) + decaySum);
          }
          if (dGate != 0) {
            if (!fromLast) addProducts(extra, keyI, out, -1, key);
            accumulate(head, extra, key);
          }
          addRow(out, query, load<f32>(head + ownsAt + at), key);
        }
        unpackRows(dk + keyOffset, keyOut, k + keyOffset, steps, keyStride, dKey, featureMap, 1);
        if (dGate != 0) unpackRows(dGate + keyOffset, keyExtra, 0, steps, keyStride, dKey, IDENTITY, 1);
      }
    }

    for (let h = h0; h < endHead; h++) {
      const head = heads + <usize>h * headBytes;
      const index = <usize>(b * nHeads + h);
      if (dDecay != 0 && !decayPerStep) {
        store<f32>(dDecay + (index << 2), <f32>load<f64>(head + headSumAt));
      }
      if (dInitialState == 0 && dInitialNormalizer == 0) continue;
      const firstStep = <usize>b * <usize>seqLen * <usize>nHeads + <usize>h;
      const decayRow = shifted(decay, (decayPerStep ? firstStep : <usize>h) << 2);
      const gateRow = shifted(gate, firstStep * keyRow);
      if (packForget(forgets, decayRow, decayStride, gateRow, keyStride, 1, dKey) != 0) {
        scaleRows(head + dStateAt, forgets, dKey, value);
        scaleElements(head + dzAt, forgets, key);
      }
      if (dInitialState != 0) {
        unpackState(dInitialState + index * <usize>dKey * valueRow, valueRow, head + dStateAt, dKey, dValue);
      }
      if (dInitialNormalizer != 0) memory.copy(dInitialNormalizer + index * keyRow, head + dzAt, keyRow);
    }
  }
}
