/**
 * Linear attention, plain (Katharopoulos et al. 2020, arXiv:2006.16236), with a decay a head (Sun et al. 2023,
 * arXiv:2307.08621) or a gate a key channel (Yang et al. 2023, arXiv:2312.06635):
 *
 *   S[t] = f[t] S[t-1] + phi(k[t]) v[t]^T     f = e^decay, or e^gate for each row of S
 *   z[t] = f[t] z[t-1] + phi(k[t])
 *   o[t] = scale phi(q[t]) S[t]               over scale phi(q[t]) . z[t] + eps, if normalised
 *
 *   q, k, gate  [batch, seqLen, nHeads, dKey]     o, v  [batch, seqLen, nHeads, dValue]
 *   S           [batch, nHeads, dKey, dValue]     z     [batch, nHeads, dKey]
 *   decay       [batch, seqLen, nHeads], or [nHeads] if decayPerStep is 0
 *
 * The caller gives decay or gate or neither (0), and normalizers only if it normalises. `scratch` has as many
 * bytes as `<kernel>ScratchBytes` says. A block of steps passes for one head after the other, copied to padded rows.
 * This is the recurrent form; that in chunks is in linear-attention-chunked.ts.
 *
 * Backward is three more passes of the same recurrence, two of them backwards in time, so it keeps no states:
 *
 *   dq[t] = S[t] do[t]        dv[t] = k[t] dS[t]        dk[t] = dS[t] v[t]        dS[t] = f[t+1] dS[t+1] + q[t] do[t]^T
 *
 * The gradient of the logs of f follows from those of q and k: a pair j < t <= i of steps that meet in the output
 * holds f[t] once, so d[t] - d[t+1] = q[t] dq[t] - k[t] dk[t], both without the step's own update, summed in double.
 */
import {
  addRow,
  advance,
  ALONG_COLUMNS,
  ALONG_ROWS,
  BLOCK,
  dot,
  IDENTITY,
  ownRows,
  packDecay,
  packGate,
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
} from './state-tiles';
import { loadTail, madd, storeTail, sum } from './simd';

/** A vector as a padded row; zeros if `source` is 0. */
function packVector(target: usize, source: usize, size: i32): void {
  if (source == 0) zeroRows(target, padded(size));
  else packRows(target, source, 1, 0, size, IDENTITY, 1);
}

/** Rows of forget factors e^decay or e^gate from the first row given; 0 if there are none. */
// prettier-ignore
function packForget(
  target: usize, decay: usize, decayStride: usize, gate: usize, gateStride: usize, steps: i32, dKey: i32,
): usize {
  if (decay != 0) packDecay(target, decay, steps, decayStride, dKey);
  else if (gate != 0) packGate(target, gate, steps, gateStride, dKey);
  else return 0;
  return target;
}

/** z moves over a block; each inverse[t] = 1 / (q[t] . z[t] + eps). */
// prettier-ignore
function denominators(inverse: usize, z: usize, q: usize, k: usize, forget: usize, steps: i32, size: i32, eps: f32): void {
  const row = (<usize>size) << 2;
  for (let t = 0; t < steps; t++) {
    let acc = f32x4.splat(0);
    for (let i: usize = 0; i < row; i += 16) {
      let zi = v128.load(z + i);
      if (forget != 0) zi = f32x4.mul(zi, v128.load(forget + i));
      zi = f32x4.add(zi, v128.load(k + i));
      v128.store(z + i, zi);
      acc = madd(zi, v128.load(q + i), acc);
    }
    store<f32>(inverse, <f32>1 / (sum(acc) + eps));
    inverse += 4; q += row; k += row;
    if (forget != 0) forget += row;
  }
}

export function linearAttentionForwardScratchBytes(nHeads: i32, dKey: i32, dValue: i32): f64 {
  const key = paddedBytes(dKey),
    value = paddedBytes(dValue);
  return 3 * BLOCK * key + 2 * BLOCK * value + BLOCK * 4 + <f64>nHeads * ((key * value) / 4 + key);
}

// prettier-ignore
export function linearAttentionForward(
  o: usize, lastState: usize, lastNormalizer: usize,
  q: usize, k: usize, v: usize, decay: usize, gate: usize, initialState: usize, initialNormalizer: usize,
  scratch: usize, batch: i32, seqLen: i32, nHeads: i32, dKey: i32, dValue: i32,
  featureMap: i32, decayPerStep: i32, scale: f32, eps: f32,
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
  const values = keys + <usize>BLOCK * keyBytes;
  const outputs = values + <usize>BLOCK * valueBytes;
  const forgets = outputs + <usize>BLOCK * valueBytes;
  const inverses = forgets + <usize>BLOCK * keyBytes;
  const states = inverses + ((<usize>BLOCK) << 2); // of every head: S, z
  const stateBytes = <usize>key * valueBytes;
  const headBytes = stateBytes + keyBytes;
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < nHeads; h++) {
      const head = <usize>(b * nHeads + h);
      const state = states + <usize>h * headBytes;
      packState(state, shifted(initialState, head * <usize>dKey * valueRow), dKey, dValue);
      packVector(state + stateBytes, shifted(initialNormalizer, head * keyRow), dKey);
    }
    for (let t = 0; t < seqLen; t += BLOCK) {
      const steps = seqLen - t < BLOCK ? seqLen - t : BLOCK;
      const from = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads;
      const rows = <usize>steps * <usize>nHeads;
      touch(q + from * keyRow, rows * keyRow, queries);
      touch(k + from * keyRow, rows * keyRow, queries);
      touch(v + from * valueRow, rows * valueRow, queries);
      touch(o + from * valueRow, rows * valueRow, queries);
      for (let h = 0; h < nHeads; h++) {
        const step = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads + <usize>h;
        const state = states + <usize>h * headBytes;
        packRows(queries, q + step * keyRow, steps, keyStride, dKey, featureMap, scale);
        packRows(keys, k + step * keyRow, steps, keyStride, dKey, featureMap, 1);
        packRows(values, v + step * valueRow, steps, valueStride, dValue, IDENTITY, 1);
        const decayRow = shifted(decay, (decayPerStep ? step : <usize>h) << 2);
        const gateRow = shifted(gate, step * keyRow);
        const forget = packForget(forgets, decayRow, decayStride, gateRow, keyStride, steps, dKey);
        ownRows(outputs, queries, keys, values, steps, key, value);
        advance(outputs, state, queries, keys, values, forget, ALONG_ROWS, steps, key, value, 1);
        if (lastNormalizer != 0) {
          denominators(inverses, state + stateBytes, queries, keys, forget, steps, key, eps);
          scaleRows(outputs, inverses, steps, value);
        }
        unpackRows(o + step * valueRow, outputs, 0, steps, valueStride, dValue, IDENTITY, 1);
      }
    }
    for (let h = 0; h < nHeads; h++) {
      const head = <usize>(b * nHeads + h);
      const state = states + <usize>h * headBytes;
      unpackState(lastState + head * <usize>dKey * valueRow, state, dKey, dValue);
      if (lastNormalizer != 0) memory.copy(lastNormalizer + head * keyRow, state + stateBytes, keyRow);
    }
  }
}

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
  scratch: usize, batch: i32, seqLen: i32, nHeads: i32, dKey: i32, dValue: i32,
  featureMap: i32, normalize: i32, decayPerStep: i32, scale: f32, eps: f32,
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
  const heads = forgets + <usize>(BLOCK + 1) * keyBytes;
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
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < nHeads; h++) {
      const head = heads + <usize>h * headBytes;
      const index = <usize>(b * nHeads + h);
      const stateOffset = index * <usize>dKey * valueRow;
      packTransposed(head + stateTAt, shifted(initialState, stateOffset), dKey, dValue);
      packState(head + dStateAt, shifted(dLastState, stateOffset), dKey, dValue);
      packTransposed(head + dStateTAt, shifted(dLastState, stateOffset), dKey, dValue);
      packVector(head + zAt, shifted(initialNormalizer, index * keyRow), dKey);
      packVector(head + dzAt, shifted(dLastNormalizer, index * keyRow), dKey);
      zeroRows(head, <i32>(stateTAt >> 2)); // the sums
    }

    for (let t = 0, steps = 0; t < seqLen; t += steps) {
      steps = seqLen - t < BLOCK ? seqLen - t : BLOCK;
      if (hasLast && t + steps == seqLen && steps > 1) steps--; // the last step comes alone
      const from = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads;
      const rows = <usize>steps * <usize>nHeads;
      touch(q + from * keyRow, rows * keyRow, queries);
      touch(k + from * keyRow, rows * keyRow, queries);
      touch(v + from * valueRow, rows * valueRow, queries);
      if (dO != 0) touch(dO + from * valueRow, rows * valueRow, queries);
      touch(dq + from * keyRow, rows * keyRow, queries);
      for (let h = 0; h < nHeads; h++) {
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
      for (let h = 0; h < nHeads; h++) {
        const head = heads + <usize>h * headBytes;
        store<f64>(head + decaySumAt, <f64>rowSum(head + lastRowAt, key));
        accumulate(head, head + lastRowAt, key);
      }
    }
    for (let end = seqLen, steps = 0; end > 0; end -= steps) {
      steps = end < BLOCK ? end : BLOCK;
      const t = end - steps;
      const from = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads;
      const rows = <usize>steps * <usize>nHeads;
      touch(q + from * keyRow, rows * keyRow, queries);
      touch(k + from * keyRow, rows * keyRow, queries);
      touch(v + from * valueRow, rows * valueRow, queries);
      if (dO != 0) touch(dO + from * valueRow, rows * valueRow, queries);
      touch(dk + from * keyRow, rows * keyRow, queries);
      touch(dv + from * valueRow, rows * valueRow, queries);
      for (let h = 0; h < nHeads; h++) {
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

    for (let h = 0; h < nHeads; h++) {
      const head = heads + <usize>h * headBytes;
      const index = <usize>(b * nHeads + h);
      if (dDecay != 0 && !decayPerStep) {
        const total = dDecay + ((<usize>h) << 2);
        const headSum = load<f64>(head + headSumAt);
        store<f32>(total, <f32>(b == 0 ? headSum : headSum + <f64>load<f32>(total)));
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
        unpackState(dInitialState + index * <usize>dKey * valueRow, head + dStateAt, dKey, dValue);
      }
      if (dInitialNormalizer != 0) memory.copy(dInitialNormalizer + index * keyRow, head + dzAt, keyRow);
    }
  }
}

export function linearAttentionStepScratchBytes(dKey: i32): f64 {
  return 3 * paddedBytes(dKey);
}

/**
 * One step of every head: state and normalizer (0 if it does not normalise) are updated in place.
 *
 *   o, v  [batch, nHeads, dValue]   q, k, gate  [batch, nHeads, dKey]   decay  [batch, nHeads], or [nHeads]
 */
// prettier-ignore
export function linearAttentionStep(
  o: usize, state: usize, normalizer: usize,
  q: usize, k: usize, v: usize, decay: usize, gate: usize,
  scratch: usize, batch: i32, nHeads: i32, dKey: i32, dValue: i32,
  featureMap: i32, decayPerStep: i32, scale: f32, eps: f32,
): void {
  const keyRow = (<usize>dKey) << 2;
  const valueRow = (<usize>dValue) << 2;
  const query = scratch;
  const keyI = query + ((<usize>padded(dKey)) << 2);
  const forgets = keyI + ((<usize>padded(dKey)) << 2);
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < nHeads; h++) {
      packRows(query, q, 1, 0, dKey, featureMap, scale);
      packRows(keyI, k, 1, 0, dKey, featureMap, 1);
      const decayHead = shifted(decay, (<usize>(decayPerStep ? b * nHeads + h : h)) << 2);
      const forget = packForget(forgets, decayHead, 0, gate, 0, 1, dKey);
      let inverse: f32 = 1;
      if (normalizer != 0) {
        let denominator = eps;
        for (let i: usize = 0; i < keyRow; i += 4) {
          let z = load<f32>(normalizer + i);
          if (forget != 0) z *= load<f32>(forget + i);
          z += load<f32>(keyI + i);
          store<f32>(normalizer + i, z);
          denominator += z * load<f32>(query + i);
        }
        inverse = 1 / denominator;
        normalizer += keyRow;
      }
      const factor = f32x4.splat(inverse);
      const one = f32x4.splat(1);
      let j: usize = 0;
      for (; j + 64 <= valueRow; j += 64) { // a cache line of each row of the state
        const v0 = v128.load(v + j), v1 = v128.load(v + j, 16), v2 = v128.load(v + j, 32), v3 = v128.load(v + j, 48);
        let o0 = f32x4.splat(0), o1 = o0, o2 = o0, o3 = o0;
        for (let i: usize = 0, cell = state + j; i < keyRow; i += 4, cell += valueRow) {
          const f = forget == 0 ? one : v128.load32_splat(forget + i);
          const keySplat = v128.load32_splat(keyI + i);
          const querySplat = v128.load32_splat(query + i);
          const s0 = madd(keySplat, v0, f32x4.mul(f, v128.load(cell)));
          v128.store(cell, s0);
          o0 = madd(querySplat, s0, o0);
          const s1 = madd(keySplat, v1, f32x4.mul(f, v128.load(cell, 16)));
          v128.store(cell, s1, 16);
          o1 = madd(querySplat, s1, o1);
          const s2 = madd(keySplat, v2, f32x4.mul(f, v128.load(cell, 32)));
          v128.store(cell, s2, 32);
          o2 = madd(querySplat, s2, o2);
          const s3 = madd(keySplat, v3, f32x4.mul(f, v128.load(cell, 48)));
          v128.store(cell, s3, 48);
          o3 = madd(querySplat, s3, o3);
        }
        v128.store(o + j, f32x4.mul(o0, factor)); v128.store(o + j, f32x4.mul(o1, factor), 16);
        v128.store(o + j, f32x4.mul(o2, factor), 32); v128.store(o + j, f32x4.mul(o3, factor), 48);
      }
      for (; j < valueRow; j += 16) {
        const rest = <i32>((valueRow - j) >> 2);
        const vj = loadTail(v + j, rest);
        let oj = f32x4.splat(0);
        for (let i: usize = 0, cell = state + j; i < keyRow; i += 4, cell += valueRow) {
          const f = forget == 0 ? one : v128.load32_splat(forget + i);
          const s = madd(v128.load32_splat(keyI + i), vj, f32x4.mul(f, loadTail(cell, rest)));
          storeTail(cell, s, rest);
          oj = madd(v128.load32_splat(query + i), s, oj);
        }
        storeTail(o + j, f32x4.mul(oj, factor), rest);
      }
      o += valueRow; v += valueRow; q += keyRow; k += keyRow; state += keyRow * dValue;
      if (gate != 0) gate += keyRow;
    }
  }
}
