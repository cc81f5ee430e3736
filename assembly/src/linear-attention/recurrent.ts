/** Linear attention step by step: a sequence in blocks of steps, or one step; see ../linear-attention. */
import { loadTail, madd, storeTail, sum } from '../simd';
import {
  IDENTITY,
  ownRows,
  packDecay,
  packGate,
  packRows,
  packState,
  padded,
  paddedBytes,
  scaleRows,
  shifted,
  touch,
  unpackRows,
  unpackState,
  zeroRows,
} from '../state/rows';
import { advance, ALONG_ROWS, BLOCK } from '../state/tiles';

/** A vector as a padded row; zeros if `source` is 0. */
export function packVector(target: usize, source: usize, size: i32): void {
  if (source == 0) zeroRows(target, padded(size));
  else packRows(target, source, 1, 0, size, IDENTITY, 1);
}

/** Rows of forget factors e^decay or e^gate from the first row given; 0 if there are none. */
// prettier-ignore
export function packForget(
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

/** For so many pieces of heads, `dValue` being that of a piece. */
export function linearAttentionForwardScratchBytes(nHeads: i32, dKey: i32, dValue: i32): f64 {
  const key = paddedBytes(dKey),
    value = paddedBytes(dValue);
  return 3 * BLOCK * key + 2 * BLOCK * value + BLOCK * 4 + <f64>nHeads * ((key * value) / 4 + key);
}

/**
 * Units are pieces of heads, counted over the batch: `pieces` of each head, of as many value columns, whole panels of 8
 * if more than 1. Columns of S do not depend on each other.
 */
// prettier-ignore
export function linearAttentionForward(
  o: usize, lastState: usize, lastNormalizer: usize,
  q: usize, k: usize, v: usize, decay: usize, gate: usize, initialState: usize, initialNormalizer: usize,
  seqLen: i32, nHeads: i32, dKey: i32, dValue: i32,
  featureMap: i32, decayPerStep: i32, scale: f32, eps: f32,
  pieces: i32, scratch: usize, first: i32, count: i32,
): void {
  const width = dValue / pieces;
  const most = nHeads * pieces;
  const key = padded(dKey);
  const value = padded(width);
  const keyBytes = (<usize>key) << 2;
  const valueBytes = (<usize>value) << 2;
  const keyRow = (<usize>dKey) << 2;
  const valueRow = (<usize>dValue) << 2;
  const pieceRow = (<usize>width) << 2;
  const keyStride = keyRow * nHeads;
  const valueStride = valueRow * nHeads;
  const decayStride = decayPerStep ? (<usize>nHeads) << 2 : 0;
  const queries = scratch;
  const keys = queries + <usize>BLOCK * keyBytes;
  const values = keys + <usize>BLOCK * keyBytes;
  const outputs = values + <usize>BLOCK * valueBytes;
  const forgets = outputs + <usize>BLOCK * valueBytes;
  const inverses = forgets + <usize>BLOCK * keyBytes;
  const statesOfCall = inverses + ((<usize>BLOCK) << 2); // of every head: S, z
  const stateBytes = <usize>key * valueBytes;
  const headBytes = stateBytes + keyBytes;
  for (let b = first / most, p0 = first % most; count > 0; b++, p0 = 0) {
    const end = min(most, p0 + count);
    count -= end - p0;
    const h0 = p0 / pieces;
    const keyHeads = <usize>((end - 1) / pieces - h0 + 1) * keyRow;
    const valueHeads = <usize>(end - p0) * pieceRow;
    const states = statesOfCall - <usize>p0 * headBytes;
    for (let p = p0; p < end; p++) {
      const head = <usize>(b * nHeads + p / pieces);
      const state = states + <usize>p * headBytes;
      const stateOffset = head * <usize>dKey * valueRow + <usize>(p % pieces) * pieceRow;
      packState(state, shifted(initialState, stateOffset), valueRow, dKey, width);
      packVector(state + stateBytes, shifted(initialNormalizer, head * keyRow), dKey);
    }
    for (let t = 0; t < seqLen; t += BLOCK) {
      const steps = seqLen - t < BLOCK ? seqLen - t : BLOCK;
      const from = (<usize>b * <usize>seqLen + <usize>t) * <usize>nHeads;
      const firstKey = (from + <usize>h0) * keyRow;
      const firstValue = from * valueRow + <usize>p0 * pieceRow;
      touch(q + firstKey, steps, keyStride, keyHeads, queries);
      touch(k + firstKey, steps, keyStride, keyHeads, queries);
      touch(v + firstValue, steps, valueStride, valueHeads, queries);
      touch(o + firstValue, steps, valueStride, valueHeads, queries);
      for (let p = p0; p < end; p++) {
        const h = p / pieces;
        const step = from + <usize>h;
        const valueOffset = from * valueRow + <usize>p * pieceRow;
        const state = states + <usize>p * headBytes;
        packRows(queries, q + step * keyRow, steps, keyStride, dKey, featureMap, scale);
        packRows(keys, k + step * keyRow, steps, keyStride, dKey, featureMap, 1);
        packRows(values, v + valueOffset, steps, valueStride, width, IDENTITY, 1);
        const decayRow = shifted(decay, (decayPerStep ? step : <usize>h) << 2);
        const gateRow = shifted(gate, step * keyRow);
        const forget = packForget(forgets, decayRow, decayStride, gateRow, keyStride, steps, dKey);
        ownRows(outputs, queries, keys, values, steps, key, value);
        advance(outputs, state, queries, keys, values, forget, ALONG_ROWS, steps, key, value, 1);
        if (lastNormalizer != 0) {
          denominators(inverses, state + stateBytes, queries, keys, forget, steps, key, eps);
          scaleRows(outputs, inverses, steps, value);
        }
        unpackRows(o + valueOffset, outputs, 0, steps, valueStride, width, IDENTITY, 1);
      }
    }
    for (let p = p0; p < end; p++) {
      const head = <usize>(b * nHeads + p / pieces);
      const state = states + <usize>p * headBytes;
      const stateOffset = head * <usize>dKey * valueRow + <usize>(p % pieces) * pieceRow;
      unpackState(lastState + stateOffset, valueRow, state, dKey, width);
      if (lastNormalizer != 0 && p % pieces == 0) memory.copy(lastNormalizer + head * keyRow, state + stateBytes, keyRow);
    }
  }
}

export function linearAttentionStepScratchBytes(dKey: i32): f64 {
  return 3 * paddedBytes(dKey);
}

/**
 * One step of some heads, counted over the batch: state and normalizer (0 if it does not normalise) are updated in place.
 *
 *   o, v  [batch, nHeads, dValue]   q, k, gate  [batch, nHeads, dKey]   decay  [batch, nHeads], or [nHeads]
 */
// prettier-ignore
export function linearAttentionStep(
  o: usize, state: usize, normalizer: usize,
  q: usize, k: usize, v: usize, decay: usize, gate: usize,
  nHeads: i32, dKey: i32, dValue: i32,
  featureMap: i32, decayPerStep: i32, scale: f32, eps: f32, scratch: usize, first: i32, count: i32,
): void {
  const keyRow = (<usize>dKey) << 2;
  const valueRow = (<usize>dValue) << 2;
  const query = scratch;
  const keyI = query + ((<usize>padded(dKey)) << 2);
  const forgets = keyI + ((<usize>padded(dKey)) << 2);
  const from = <usize>first;
  o += from * valueRow; v += from * valueRow; q += from * keyRow; k += from * keyRow; state += from * keyRow * dValue;
  if (normalizer != 0) normalizer += from * keyRow;
  if (gate != 0) gate += from * keyRow;
  for (let head = first; head < first + count; head++) {
    packRows(query, q, 1, 0, dKey, featureMap, scale);
    packRows(keyI, k, 1, 0, dKey, featureMap, 1);
    const decayHead = shifted(decay, (<usize>(decayPerStep ? head : head % nHeads)) << 2);
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
