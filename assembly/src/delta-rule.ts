/**
 * The delta rule (Schlag et al. 2021, arXiv:2102.11174; Yang et al. 2024, arXiv:2406.06484), plain or gated
 * (Yang et al. 2024, arXiv:2412.06464): before it writes, a step reads what the state holds under its key.
 *
 *   e[t] = v[t] - f[t] S[t-1]^T k[t]          f = e^decay
 *   S[t] = f[t] S[t-1] + k[t] (beta[t] e[t])^T
 *   o[t] = scale q[t] S[t]
 *
 *   q, k         [batch, seqLen, nHeads, dKey]     o, v  [batch, seqLen, nHeads, dValue]
 *   beta, decay  [batch, seqLen, nHeads]           S     [batch, nHeads, dKey, dValue]
 *
 * decay may be 0 (f = 1). If l2Normalize, q and k are divided by sqrt(sum of squares + eps) first. `scratch` has as many
 * bytes as `<kernel>ScratchBytes` says.
 *
 * A column of S depends on no other, so 8 of them at a time go through a block of steps. One pass over such a panel
 * writes step t and at once reads for step t + 1, its key's recall and its query's: 3 madds for each load and store.
 *
 * Backward, P[t] being the gradient of f[t] S[t-1]:
 *
 *   w[t] = (f[t+1] P[t+1] + q[t] do[t]^T)^T k[t]       dv[t] = beta[t] w[t]       dbeta[t] = w[t] . e[t]
 *   P[t] = f[t+1] P[t+1] + q[t] do[t]^T - k[t] dv[t]^T
 *   dq[t] = S[t] do[t]        dk[t] = (f[t+1] P[t+1] + q[t] do[t]^T) beta[t] e[t] - f[t] S[t-1] dv[t]
 *
 * e and w are found by two passes over panels, forwards and backwards in time; with them both states move by plain
 * updates, as in linear attention, and its register tiles give dq and dk. No states are kept. The gradient of decay
 * is P . (f S[t-1]) at the last step; from step to step it differs by o . do - v . dv, both without the step's own value.
 */
import { loadTail, madd, nmadd, storeTail, sum } from './simd';
import {
  addRow,
  advanceTwoReads,
  advanceTwoWrites,
  BLOCK,
  dot,
  IDENTITY,
  packDecay,
  packRows,
  packTransposed,
  padded,
  paddedBytes,
  scaleRows,
  shifted,
  touch,
  unpackRows,
  zeroRows,
} from './state-tiles';

/** A state [dKey, dValue] as panels of 8 columns, [panels, padded dKey, 8]; zeros if `source` is 0. */
function packPanels(target: usize, source: usize, dKey: i32, dValue: i32): void {
  const panel = (<usize>padded(dKey)) << 5;
  zeroRows(target, padded(dKey) * padded(dValue));
  if (source == 0) return;
  for (let i = 0; i < dKey; i++, target += 32) {
    let cell = target;
    for (let rest = dValue; rest > 0; rest -= 8, cell += panel) {
      v128.store(cell, loadTail(source, rest));
      if (rest > 4) v128.store(cell, loadTail(source + 16, rest - 4), 16);
      source += (<usize>(rest < 8 ? rest : 8)) << 2;
    }
  }
}

function unpackPanels(target: usize, source: usize, dKey: i32, dValue: i32): void {
  const panel = (<usize>padded(dKey)) << 5;
  for (let i = 0; i < dKey; i++, source += 32) {
    let cell = source;
    for (let rest = dValue; rest > 0; rest -= 8, cell += panel) {
      storeTail(target, v128.load(cell), rest);
      if (rest > 4) storeTail(target + 16, v128.load(cell, 16), rest - 4);
      target += (<usize>(rest < 8 ? rest : 8)) << 2;
    }
  }
}

/** x . x + eps of an unpadded row. */
function squareNorm(x: usize, size: i32, eps: f32): f32 {
  let acc = f32x4.splat(0);
  for (; size >= 4; size -= 4, x += 16) acc = madd(v128.load(x), v128.load(x), acc);
  const rest = loadTail(x, size);
  return sum(madd(rest, rest, acc)) + eps;
}

/** Whether x . x + eps neither overflows nor loses digits to underflow; else the row is normalised in float64. */
function isOrdinary(square: f32): bool {
  return square > 1e-30 && square < f32.MAX_VALUE;
}

function inverseNorm64(x: usize, size: i32, eps: f32): f64 {
  let total = <f64>eps;
  const end = (<usize>size) << 2;
  for (let i: usize = 0; i < end; i += 4) total += <f64>load<f32>(x + i) * <f64>load<f32>(x + i);
  return 1 / sqrt<f64>(total);
}

/** Queries or keys as padded rows, normalised if so wanted, times a factor. */
// prettier-ignore
function packKeys(target: usize, source: usize, steps: i32, stride: usize, size: i32, l2Normalize: i32, eps: f32, factor: f32): void {
  if (!l2Normalize) {
    packRows(target, source, steps, stride, size, IDENTITY, factor);
    return;
  }
  for (let t = 0; t < steps; t++) {
    const square = squareNorm(source, size, eps);
    if (isOrdinary(square)) packRows(target, source, 1, stride, size, IDENTITY, factor * (1 / sqrt<f32>(square)));
    else {
      const f = <f64>factor * inverseNorm64(source, size, eps);
      zeroRows(target, padded(size));
      for (let i: usize = 0; i < (<usize>size) << 2; i += 4) store<f32>(target + i, <f32>(<f64>load<f32>(source + i) * f));
    }
    target += (<usize>padded(size)) << 2;
    source += stride;
  }
}

/** The gradients of such rows, times a factor: y = n x, dx = n (dy - y (y . dy)). Changes the padded rows. */
// prettier-ignore
function unpackKeys(target: usize, rows: usize, x: usize, steps: i32, stride: usize, size: i32, l2Normalize: i32, eps: f32, factor: f32): void {
  if (!l2Normalize) {
    unpackRows(target, rows, 0, steps, stride, size, IDENTITY, factor);
    return;
  }
  const end = (<usize>size) << 2;
  for (let t = 0; t < steps; t++) {
    const square = squareNorm(x, size, eps);
    if (isOrdinary(square)) {
      const n: f32 = 1 / sqrt<f32>(square);
      let along: f32 = 0;
      for (let i: usize = 0; i < end; i += 4) along += load<f32>(x + i) * load<f32>(rows + i);
      along *= n * n;
      for (let i: usize = 0; i < end; i += 4) store<f32>(rows + i, load<f32>(rows + i) - load<f32>(x + i) * along);
      unpackRows(target, rows, 0, 1, stride, size, IDENTITY, factor * n);
    } else {
      const n = inverseNorm64(x, size, eps);
      let along: f64 = 0;
      for (let i: usize = 0; i < end; i += 4) along += <f64>load<f32>(x + i) * n * <f64>load<f32>(rows + i);
      for (let i: usize = 0; i < end; i += 4) {
        const y = <f64>load<f32>(x + i) * n;
        store<f32>(target + i, <f32>(<f64>factor * n * (<f64>load<f32>(rows + i) - y * along)));
      }
    }
    target += stride; x += stride;
    rows += (<usize>padded(size)) << 2;
  }
}

/** Copies one number a step. */
function packNumbers(target: usize, source: usize, steps: i32, stride: usize): void {
  for (let t = 0; t < steps; t++, target += 4, source += stride) store<f32>(target, load<f32>(source));
}

/** target[t] = x[t] . y[t], padded rows. */
function dots(target: usize, x: usize, y: usize, steps: i32, size: i32): void {
  const row = (<usize>size) << 2;
  for (let t = 0; t < steps; t++, target += 4, x += row, y += row) store<f32>(target, dot(x, y, size));
}

/** Forget factors of steps, one each; 1 where decay is 0. */
function packForgets(target: usize, decay: usize, steps: i32, stride: usize, row: usize): void {
  for (let t = 0; t < steps; t++, target += 4) {
    store<f32>(target, 1);
    if (decay == 0) continue;
    packDecay(row, decay, 1, 0, 1);
    store<f32>(target, load<f32>(row));
    decay += stride;
  }
}

/**
 * A panel of the state goes through a block. q and k have one more row, which may hold anything. With ownValues 0
 * the outputs leave out what the step itself writes of v.
 */
// prettier-ignore
function deltaPanel(
  o: usize, e: usize, panel: usize,
  q: usize, k: usize, v: usize, beta: usize, forget: usize, qk: usize,
  steps: i32, keySize: i32, laneRow: usize, ownValues: f32,
): void {
  const row = (<usize>keySize) << 2;
  const end = panel + ((<usize>keySize) << 5);
  const own = f32x4.splat(ownValues);
  let r0 = f32x4.splat(0), r1 = r0; // S^T k
  let p0 = r0, p1 = r0; // S^T q
  for (let cell = panel, i: usize = 0; cell < end; cell += 32, i += 4) {
    const s0 = v128.load(cell), s1 = v128.load(cell, 16);
    const x = v128.load32_splat(k + i), y = v128.load32_splat(q + i);
    r0 = madd(x, s0, r0); r1 = madd(x, s1, r1);
    p0 = madd(y, s0, p0); p1 = madd(y, s1, p1);
  }
  for (let t = 0; t < steps; t++) {
    const f = v128.load32_splat(forget), b = v128.load32_splat(beta), own0 = v128.load32_splat(qk);
    r0 = f32x4.mul(f, r0); r1 = f32x4.mul(f, r1);
    const v0 = v128.load(v), v1 = v128.load(v, 16);
    const e0 = f32x4.sub(v0, r0), e1 = f32x4.sub(v1, r1);
    v128.store(e, e0); v128.store(e, e1, 16);
    const c = f32x4.mul(own0, b);
    v128.store(o, madd(c, f32x4.sub(f32x4.mul(own, v0), r0), f32x4.mul(f, p0)));
    v128.store(o, madd(c, f32x4.sub(f32x4.mul(own, v1), r1), f32x4.mul(f, p1)), 16);
    const u0 = f32x4.mul(b, e0), u1 = f32x4.mul(b, e1);
    r0 = f32x4.splat(0); r1 = r0; p0 = r0; p1 = r0;
    for (let cell = panel; cell < end; cell += 64) {
      let w = v128.load32_splat(k);
      let s0 = madd(w, u0, f32x4.mul(f, v128.load(cell))), s1 = madd(w, u1, f32x4.mul(f, v128.load(cell, 16)));
      v128.store(cell, s0); v128.store(cell, s1, 16);
      w = v128.load32_splat(k + row);
      r0 = madd(w, s0, r0); r1 = madd(w, s1, r1);
      w = v128.load32_splat(q + row);
      p0 = madd(w, s0, p0); p1 = madd(w, s1, p1);
      w = v128.load32_splat(k, 4);
      s0 = madd(w, u0, f32x4.mul(f, v128.load(cell, 32))); s1 = madd(w, u1, f32x4.mul(f, v128.load(cell, 48)));
      v128.store(cell, s0, 32); v128.store(cell, s1, 48);
      w = v128.load32_splat(k + row, 4);
      r0 = madd(w, s0, r0); r1 = madd(w, s1, r1);
      w = v128.load32_splat(q + row, 4);
      p0 = madd(w, s0, p0); p1 = madd(w, s1, p1);
      k += 8; q += 8;
    }
    o += laneRow; e += laneRow; v += laneRow;
    beta += 4; forget += 4; qk += 4;
  }
}

export function deltaRuleForwardScratchBytes(nHeads: i32, dKey: i32, dValue: i32): f64 {
  const key = paddedBytes(dKey),
    value = paddedBytes(dValue);
  return 2 * (BLOCK + 1) * key + 3 * BLOCK * value + 3 * BLOCK * 4 + 32 + (<f64>nHeads * key * value) / 4;
}

// prettier-ignore
export function deltaRuleForward(
  o: usize, lastState: usize,
  q: usize, k: usize, v: usize, beta: usize, decay: usize, initialState: usize,
  scratch: usize, batch: i32, seqLen: i32, nHeads: i32, dKey: i32, dValue: i32,
  l2Normalize: i32, scale: f32, eps: f32,
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
  const keys = queries + <usize>(BLOCK + 1) * keyBytes;
  const values = keys + <usize>(BLOCK + 1) * keyBytes;
  const outputs = values + <usize>BLOCK * valueBytes;
  const errors = outputs + <usize>BLOCK * valueBytes;
  const betas = errors + <usize>BLOCK * valueBytes;
  const forgets = betas + ((<usize>BLOCK) << 2);
  const qk = forgets + ((<usize>BLOCK) << 2);
  const forgetRow = qk + ((<usize>BLOCK) << 2);
  const states = forgetRow + 32; // of every head
  const stateBytes = <usize>key * valueBytes;
  for (let b = 0; b < batch; b++) {
    const head = <usize>b * <usize>nHeads;
    for (let h: usize = 0; h < <usize>nHeads; h++) {
      packPanels(states + h * stateBytes, shifted(initialState, (head + h) * <usize>dKey * valueRow), dKey, dValue);
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
        const step = from + <usize>h;
        const state = states + <usize>h * stateBytes;
        packKeys(queries, q + step * keyRow, steps, keyStride, dKey, l2Normalize, eps, scale);
        packKeys(keys, k + step * keyRow, steps, keyStride, dKey, l2Normalize, eps, 1);
        packRows(values, v + step * valueRow, steps, valueStride, dValue, IDENTITY, 1);
        packNumbers(betas, beta + (step << 2), steps, stepStride);
        packForgets(forgets, shifted(decay, step << 2), steps, stepStride, forgetRow);
        dots(qk, queries, keys, steps, key);
        for (let lane: usize = 0; lane < valueBytes; lane += 32) {
          deltaPanel(outputs + lane, errors + lane, state + lane * key, queries, keys, values + lane, betas, forgets, qk, steps, key, valueBytes, 1);
        }
        unpackRows(o + step * valueRow, outputs, 0, steps, valueStride, dValue, IDENTITY, 1);
      }
    }
    for (let h: usize = 0; h < <usize>nHeads; h++) {
      unpackPanels(lastState + (head + h) * <usize>dKey * valueRow, states + h * stateBytes, dKey, dValue);
    }
  }
}

/**
 * A panel of P goes through a block backwards in time. k has one more row before its first, which may hold anything;
 * forget is that of the next step.
 */
// prettier-ignore
function deltaPanelBackward(
  w: usize, dvPast: usize, panel: usize,
  q: usize, k: usize, dO: usize, beta: usize, forget: usize, qk: usize,
  steps: i32, keySize: i32, laneRow: usize,
): void {
  const row = (<usize>keySize) << 2;
  const end = panel + ((<usize>keySize) << 5);
  const last = <usize>(steps - 1);
  q += last * row; k += last * row; dO += last * laneRow; w += last * laneRow; dvPast += last * laneRow;
  beta += last << 2; forget += last << 2; qk += last << 2;
  let r0 = f32x4.splat(0), r1 = r0; // P^T k
  for (let cell = panel, i: usize = 0; cell < end; cell += 32, i += 4) {
    const x = v128.load32_splat(k + i);
    r0 = madd(x, v128.load(cell), r0); r1 = madd(x, v128.load(cell, 16), r1);
  }
  for (let t = 0; t < steps; t++) {
    const f = v128.load32_splat(forget), b = v128.load32_splat(beta), own = v128.load32_splat(qk);
    const d0 = v128.load(dO), d1 = v128.load(dO, 16);
    r0 = f32x4.mul(f, r0); r1 = f32x4.mul(f, r1);
    v128.store(dvPast, f32x4.mul(b, r0)); v128.store(dvPast, f32x4.mul(b, r1), 16);
    r0 = madd(own, d0, r0); r1 = madd(own, d1, r1);
    v128.store(w, r0); v128.store(w, r1, 16);
    const dv0 = f32x4.mul(b, r0), dv1 = f32x4.mul(b, r1);
    r0 = f32x4.splat(0); r1 = r0;
    for (let cell = panel; cell < end; cell += 64) {
      let x = v128.load32_splat(q);
      let p0 = madd(x, d0, f32x4.mul(f, v128.load(cell))), p1 = madd(x, d1, f32x4.mul(f, v128.load(cell, 16)));
      x = v128.load32_splat(k);
      p0 = nmadd(x, dv0, p0); p1 = nmadd(x, dv1, p1);
      v128.store(cell, p0); v128.store(cell, p1, 16);
      x = v128.load32_splat(k - row);
      r0 = madd(x, p0, r0); r1 = madd(x, p1, r1);
      x = v128.load32_splat(q, 4);
      p0 = madd(x, d0, f32x4.mul(f, v128.load(cell, 32))); p1 = madd(x, d1, f32x4.mul(f, v128.load(cell, 48)));
      x = v128.load32_splat(k, 4);
      p0 = nmadd(x, dv0, p0); p1 = nmadd(x, dv1, p1);
      v128.store(cell, p0, 32); v128.store(cell, p1, 48);
      x = v128.load32_splat(k - row + 4);
      r0 = madd(x, p0, r0); r1 = madd(x, p1, r1);
      q += 8; k += 8;
    }
    q -= 2 * row; k -= 2 * row; dO -= laneRow; w -= laneRow; dvPast -= laneRow;
    beta -= 4; forget -= 4; qk -= 4;
  }
}

/** Rows of do from a step's row on; zeros if it is absent. */
function packUpstream(target: usize, dO: usize, step: usize, steps: i32, stride: usize, dValue: i32): void {
  if (dO == 0) zeroRows(target, steps * padded(dValue));
  else packRows(target, dO + step * ((<usize>dValue) << 2), steps, stride, dValue, IDENTITY, 1);
}

/** Forget factors of the steps after steps t and on; after the last one 1. */
// prettier-ignore
function packNextForgets(
  target: usize, decay: usize, step: usize, t: i32, steps: i32, seqLen: i32, stride: usize, row: usize,
): void {
  const inside = t + steps < seqLen ? steps : steps - 1;
  packForgets(target, shifted(decay, (step << 2) + stride), inside, stride, row);
  if (inside < steps) store<f32>(target + ((<usize>inside) << 2), 1);
}

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
  scratch: usize, batch: i32, seqLen: i32, nHeads: i32, dKey: i32, dValue: i32,
  l2Normalize: i32, scale: f32, eps: f32,
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
  const heads = forgets + ((<usize>BLOCK) << 2);
  // Of every head, at these offsets:
  const stateBytes = <usize>key * valueBytes;
  const stateAt: usize = 64; // after the sum of the decay's gradient, f64: panels of S, then of P
  const lastStateAt = stateAt + stateBytes; // panels of f S before the last step
  const transposedAt = lastStateAt + stateBytes; // S, then P
  const errorsAt = transposedAt + stateBytes; // e of every step
  const slopesAt = errorsAt + <usize>seqLen * valueBytes; // w of every step
  const productsAt = slopesAt + <usize>seqLen * valueBytes; // by step: o . do, without the step's own value
  const headBytes = (productsAt + ((<usize>seqLen) << 2) + 63) & ~63;
  for (let b = 0; b < batch; b++) {
    // Forwards: e.
    for (let h = 0; h < nHeads; h++) {
      const head = heads + <usize>h * headBytes;
      const stateOffset = (<usize>b * <usize>nHeads + <usize>h) * <usize>dKey * valueRow;
      packPanels(head + stateAt, shifted(initialState, stateOffset), dKey, dValue);
    }
    for (let t = 0, steps = 0; t < seqLen; t += steps) {
      steps = seqLen - t < BLOCK ? seqLen - t : BLOCK;
      if (dDecay != 0 && t + steps == seqLen && steps > 1) steps--; // the last step comes alone
      const from = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads;
      const rows = <usize>steps * <usize>nHeads;
      touch(q + from * keyRow, rows * keyRow, queries);
      touch(k + from * keyRow, rows * keyRow, queries);
      touch(v + from * valueRow, rows * valueRow, queries);
      if (dO != 0) touch(dO + from * valueRow, rows * valueRow, queries);
      for (let h = 0; h < nHeads; h++) {
        const head = heads + <usize>h * headBytes;
        const step = from + <usize>h;
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
    for (let h = 0; h < nHeads; h++) {
      const head = heads + <usize>h * headBytes;
      const stateOffset = (<usize>b * <usize>nHeads + <usize>h) * <usize>dKey * valueRow;
      store<f64>(head, 0);
      packPanels(head + stateAt, shifted(dLastState, stateOffset), dKey, dValue);
    }
    for (let end = seqLen, steps = 0; end > 0; end -= steps) {
      steps = end < BLOCK ? end : BLOCK;
      if (dDecay != 0 && end == seqLen) steps = 1;
      const t = end - steps;
      const from = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads;
      const rows = <usize>steps * <usize>nHeads;
      touch(q + from * keyRow, rows * keyRow, queries);
      touch(k + from * keyRow, rows * keyRow, queries);
      touch(v + from * valueRow, rows * valueRow, queries);
      if (dO != 0) touch(dO + from * valueRow, rows * valueRow, queries);
      touch(dv + from * valueRow, rows * valueRow, queries);
      for (let h = 0; h < nHeads; h++) {
        const head = heads + <usize>h * headBytes;
        const step = from + <usize>h;
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
      for (let h = 0; h < nHeads; h++) {
        const head = heads + <usize>h * headBytes;
        const stateOffset = (<usize>b * <usize>nHeads + <usize>h) * <usize>dKey * valueRow;
        packForgets(forgets, shifted(decay, (<usize>b * <usize>seqLen * <usize>nHeads + <usize>h) << 2), 1, 0, forgetRow);
        const f = load<f32>(forgets);
        const state = head + stateAt;
        for (let i: usize = 0; i < stateBytes; i += 4) store<f32>(state + i, f * load<f32>(state + i));
        unpackPanels(dInitialState + stateOffset, state, dKey, dValue);
      }
    }

    // Forwards, S transposed: dq, and what dk has from dv.
    for (let h = 0; h < nHeads; h++) {
      const head = heads + <usize>h * headBytes;
      const stateOffset = (<usize>b * <usize>nHeads + <usize>h) * <usize>dKey * valueRow;
      packTransposed(head + transposedAt, shifted(initialState, stateOffset), dKey, dValue);
    }
    for (let t = 0; t < seqLen; t += BLOCK) {
      const steps = seqLen - t < BLOCK ? seqLen - t : BLOCK;
      const from = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads;
      const rows = <usize>steps * <usize>nHeads;
      touch(q + from * keyRow, rows * keyRow, queries);
      touch(k + from * keyRow, rows * keyRow, queries);
      if (dO != 0) touch(dO + from * valueRow, rows * valueRow, queries);
      touch(dv + from * valueRow, rows * valueRow, queries);
      touch(dq + from * keyRow, rows * keyRow, queries);
      touch(dk + from * keyRow, rows * keyRow, queries);
      for (let h = 0; h < nHeads; h++) {
        const head = heads + <usize>h * headBytes;
        const step = from + <usize>h;
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
    for (let h = 0; h < nHeads; h++) {
      const head = heads + <usize>h * headBytes;
      const stateOffset = (<usize>b * <usize>nHeads + <usize>h) * <usize>dKey * valueRow;
      packTransposed(head + transposedAt, shifted(dLastState, stateOffset), dKey, dValue);
    }
    for (let end = seqLen, steps = 0; end > 0; end -= steps) {
      steps = end < BLOCK ? end : BLOCK;
      const t = end - steps;
      const from = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads;
      const rows = <usize>steps * <usize>nHeads;
      touch(q + from * keyRow, rows * keyRow, queries);
      touch(k + from * keyRow, rows * keyRow, queries);
      if (dO != 0) touch(dO + from * valueRow, rows * valueRow, queries);
      touch(dv + from * valueRow, rows * valueRow, queries);
      touch(dk + from * keyRow, rows * keyRow, queries);
      for (let h = 0; h < nHeads; h++) {
        const head = heads + <usize>h * headBytes;
        const step = from + <usize>h;
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

export function deltaRuleStepScratchBytes(dKey: i32): f64 {
  return 2 * paddedBytes(dKey);
}

/** One step of every head: the state is updated in place. Shapes without seqLen. */
// prettier-ignore
export function deltaRuleStep(
  o: usize, state: usize,
  q: usize, k: usize, v: usize, beta: usize, decay: usize,
  scratch: usize, batch: i32, nHeads: i32, dKey: i32, dValue: i32,
  l2Normalize: i32, scale: f32, eps: f32,
): void {
  const keyRow = (<usize>dKey) << 2;
  const valueRow = (<usize>dValue) << 2;
  const query = scratch;
  const key = query + ((<usize>padded(dKey)) << 2);
  const keyEnd = key + keyRow;
  for (let head = 0; head < batch * nHeads; head++) {
    packKeys(query, q, 1, 0, dKey, l2Normalize, eps, scale);
    packForgets(key, shifted(decay, (<usize>head) << 2), 1, 0, key);
    const f = v128.load32_splat(key);
    packKeys(key, k, 1, 0, dKey, l2Normalize, eps, 1);
    const b = v128.load32_splat(beta + ((<usize>head) << 2));
    let j: usize = 0;
    for (; j + 64 <= valueRow; j += 64) { // a cache line of each row of the state
      let r0 = f32x4.splat(0), r1 = r0, r2 = r0, r3 = r0;
      for (let cell = state + j, i = key; i < keyEnd; cell += valueRow, i += 4) {
        const x = v128.load32_splat(i);
        r0 = madd(x, v128.load(cell), r0); r1 = madd(x, v128.load(cell, 16), r1);
        r2 = madd(x, v128.load(cell, 32), r2); r3 = madd(x, v128.load(cell, 48), r3);
      }
      r0 = f32x4.mul(b, nmadd(f, r0, v128.load(v + j))); r1 = f32x4.mul(b, nmadd(f, r1, v128.load(v + j, 16)));
      r2 = f32x4.mul(b, nmadd(f, r2, v128.load(v + j, 32))); r3 = f32x4.mul(b, nmadd(f, r3, v128.load(v + j, 48)));
      let o0 = f32x4.splat(0), o1 = o0, o2 = o0, o3 = o0;
      for (let cell = state + j, i = key; i < keyEnd; cell += valueRow, i += 4) {
        const x = v128.load32_splat(i), y = v128.load32_splat(i - key + query);
        const s0 = madd(x, r0, f32x4.mul(f, v128.load(cell)));
        v128.store(cell, s0);
        o0 = madd(y, s0, o0);
        const s1 = madd(x, r1, f32x4.mul(f, v128.load(cell, 16)));
        v128.store(cell, s1, 16);
        o1 = madd(y, s1, o1);
        const s2 = madd(x, r2, f32x4.mul(f, v128.load(cell, 32)));
        v128.store(cell, s2, 32);
        o2 = madd(y, s2, o2);
        const s3 = madd(x, r3, f32x4.mul(f, v128.load(cell, 48)));
        v128.store(cell, s3, 48);
        o3 = madd(y, s3, o3);
      }
      v128.store(o + j, o0); v128.store(o + j, o1, 16);
      v128.store(o + j, o2, 32); v128.store(o + j, o3, 48);
    }
    for (; j < valueRow; j += 16) {
      const rest = <i32>((valueRow - j) >> 2);
      let r = f32x4.splat(0);
      for (let cell = state + j, i = key; i < keyEnd; cell += valueRow, i += 4) {
        r = madd(v128.load32_splat(i), loadTail(cell, rest), r);
      }
      r = f32x4.mul(b, nmadd(f, r, loadTail(v + j, rest)));
      let out = f32x4.splat(0);
      for (let cell = state + j, i = key; i < keyEnd; cell += valueRow, i += 4) {
        const s = madd(v128.load32_splat(i), r, f32x4.mul(f, loadTail(cell, rest)));
        storeTail(cell, s, rest);
        out = madd(v128.load32_splat(i - key + query), s, out);
      }
      storeTail(o + j, out, rest);
    }
    o += valueRow; v += valueRow; q += keyRow; k += keyRow; state += keyRow * dValue;
  }
}
