/** The delta rule over a sequence, or one step; see ../delta-rule. */
import { loadTail, madd, nmadd, storeTail } from '../simd';
import { deltaPanel, packPanels, unpackPanels } from './panels';
import { dots, packForgets, packKeys, packNumbers } from './rows';
import { IDENTITY, packRows, padded, paddedBytes, shifted, touch, unpackRows } from '../state/rows';
import { BLOCK } from '../state/tiles';

/** For so many pieces of heads, `dValue` being that of a piece. */
export function deltaRuleForwardScratchBytes(nHeads: i32, dKey: i32, dValue: i32): f64 {
  const key = paddedBytes(dKey),
    value = paddedBytes(dValue);
  return 2 * ((BLOCK + 1) * key + BLOCK * value) + 3 * BLOCK * 4 + 32 + (<f64>nHeads * key * value) / 4;
}

/**
 * Units are pieces of heads, counted over the batch: `pieces` of each head, of as many value columns, whole panels of 8
 * if more than 1.
 */
// prettier-ignore
export function deltaRuleForward(
  o: usize, lastState: usize,
  q: usize, k: usize, v: usize, beta: usize, decay: usize, initialState: usize,
  seqLen: i32, nHeads: i32, dKey: i32, dValue: i32,
  l2Normalize: i32, scale: f32, eps: f32, pieces: i32, scratch: usize, first: i32, count: i32,
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
  const stepStride = (<usize>nHeads) << 2;
  const queries = scratch;
  const keys = queries + <usize>(BLOCK + 1) * keyBytes;
  const values = keys + <usize>(BLOCK + 1) * keyBytes;
  const outputs = values + <usize>BLOCK * valueBytes;
  const betas = outputs + <usize>BLOCK * valueBytes;
  const forgets = betas + ((<usize>BLOCK) << 2);
  const qk = forgets + ((<usize>BLOCK) << 2);
  const forgetRow = qk + ((<usize>BLOCK) << 2);
  const statesOfCall = forgetRow + 32; // of every head
  const stateBytes = <usize>key * valueBytes;
  for (let b = first / most, p0 = first % most; count > 0; b++, p0 = 0) {
    const end = min(most, p0 + count);
    count -= end - p0;
    const h0 = p0 / pieces;
    const keyHeads = <usize>((end - 1) / pieces - h0 + 1) * keyRow;
    const valueHeads = <usize>(end - p0) * pieceRow;
    const states = statesOfCall - <usize>p0 * stateBytes;
    for (let p = p0; p < end; p++) {
      const stateOffset = <usize>(b * nHeads + p / pieces) * dKey * valueRow + <usize>(p % pieces) * pieceRow;
      packPanels(states + <usize>p * stateBytes, shifted(initialState, stateOffset), valueRow, dKey, width);
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
        const step = from + <usize>(p / pieces);
        const valueOffset = from * valueRow + <usize>p * pieceRow;
        const state = states + <usize>p * stateBytes;
        packKeys(queries, q + step * keyRow, steps, keyStride, dKey, l2Normalize, eps, scale);
        packKeys(keys, k + step * keyRow, steps, keyStride, dKey, l2Normalize, eps, 1);
        packRows(values, v + valueOffset, steps, valueStride, width, IDENTITY, 1);
        packNumbers(betas, beta + (step << 2), steps, stepStride);
        packForgets(forgets, shifted(decay, step << 2), steps, stepStride, forgetRow);
        dots(qk, queries, keys, steps, key);
        for (let lane: usize = 0; lane < valueBytes; lane += 32) {
          deltaPanel(outputs + lane, outputs + lane, state + lane * key, queries, keys, values + lane, betas, forgets, qk, steps, key, valueBytes, 1);
        }
        unpackRows(o + valueOffset, outputs, 0, steps, valueStride, width, IDENTITY, 1);
      }
    }
    for (let p = p0; p < end; p++) {
      const stateOffset = <usize>(b * nHeads + p / pieces) * dKey * valueRow + <usize>(p % pieces) * pieceRow;
      unpackPanels(lastState + stateOffset, valueRow, states + <usize>p * stateBytes, dKey, width);
    }
  }
}

export function deltaRuleStepScratchBytes(dKey: i32): f64 {
  return 2 * paddedBytes(dKey);
}

/** One step of some heads, counted over the batch: the state is updated in place. Shapes without seqLen. */
// prettier-ignore
export function deltaRuleStep(
  o: usize, state: usize,
  q: usize, k: usize, v: usize, beta: usize, decay: usize,
  dKey: i32, dValue: i32, l2Normalize: i32, scale: f32, eps: f32, scratch: usize, first: i32, count: i32,
): void {
  const keyRow = (<usize>dKey) << 2;
  const valueRow = (<usize>dValue) << 2;
  const query = scratch;
  const key = query + ((<usize>padded(dKey)) << 2);
  const keyEnd = key + keyRow;
  const from = <usize>first;
  o += from * valueRow; v += from * valueRow; q += from * keyRow; k += from * keyRow; state += from * keyRow * dValue;
  for (let head = first; head < first + count; head++) {
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
