/**
 * Cross-entropy of softmax.
 *
 *   logSumExp[i] = ln(sum over v of e^logits[i, v])
 *   loss[i] = logSumExp[i] - logits[i, targets[i]]
 *
 *   logits, dlogits  [rows, vocabSize]   logSumExp  [rows]   targets, mask  [rows], int32
 *   loss, dloss      [rows] if reduction is NONE, else [1]   terms  [rows], f64
 *
 * A row is scored if its target is not ignoreIndex and its mask, if there is one (else 0), is not 0. Targets of scored
 * rows are from 0 to vocabSize - 1. Other rows have loss, logSumExp and gradient 0. MEAN divides by the number of
 * scored rows; if there is none, loss and gradients are 0.
 */
import { expNegative, largest, loadTail, storeTail, sum } from './simd';

const NONE = 0; // else the sum, or the mean

/** Floats that are added up in float32; their sums are added up in float64. */
const BLOCK = 1024;

/** Up to this, the rounding of a float32 logSumExp changes no probability by more than 1e-6 of it. */
const PRECISE: f32 = 16;

const zeros: usize = memory.data<f32>([0, 0, 0, 0], 16);
const lowest: usize = memory.data<u32>([0xff800000, 0xff800000, 0xff800000, 0xff800000], 16); // -inf
const laneMasks: usize = memory.data<i32>([-1, -1, -1, -1, 0, 0, 0, 0], 16);

/** Each row's loss: to `loss` if reduction is NONE, else to the same address as f64, the terms of crossEntropySum. */
// prettier-ignore
export function crossEntropyForward(
  loss: usize, logSumExp: usize,
  logits: usize, targets: usize, mask: usize,
  rows: i32, vocabSize: i32, ignoreIndex: i32, reduction: i32,
): void {
  for (let i = 0; i < rows; i++) {
    const at = <usize>i << 2;
    let nll: f64 = 0;
    let lse: f64 = 0;
    if (isScored(targets, mask, at, ignoreIndex)) {
      const row = logits + at * vocabSize;
      const top = rowMaximum(row, vocabSize);
      lse = <f64>top + Math.log(exponentials(0, row, top, vocabSize));
      nll = lse - <f64>load<f32>(row + (<usize>load<i32>(targets + at) << 2));
    }
    store<f32>(logSumExp + at, <f32>lse);
    if (reduction == NONE) store<f32>(loss + at, <f32>nll);
    else store<f64>(loss + 2 * at, nll);
  }
}

/** loss = sum of the terms of scored rows, divided by `divisor`. */
// prettier-ignore
export function crossEntropySum(
  loss: usize, terms: usize, targets: usize, mask: usize, rows: i32, ignoreIndex: i32, divisor: i32,
): void {
  let total: f64 = 0;
  for (let i = 0; i < rows; i++) {
    const at = <usize>i << 2;
    if (isScored(targets, mask, at, ignoreIndex)) total += load<f64>(terms + 2 * at);
  }
  store<f32>(loss, <f32>(total / <f64>divisor));
}

/** @returns how many of the rows are scored, at least 1: what MEAN divides by */
export function crossEntropyDivisor(targets: usize, mask: usize, rows: i32, ignoreIndex: i32): i32 {
  let scored = 0;
  for (let i = 0; i < rows; i++) scored += i32(isScored(targets, mask, (<usize>i) << 2, ignoreIndex));
  return max(scored, 1);
}

/**
 * dlogits[i, v] = dloss (e^(logits[i, v] - logSumExp[i]) - (v = targets[i])) / divisor; logSumExp and dloss (1) may be
 * absent.
 */
// prettier-ignore
export function crossEntropyBackward(
  dlogits: usize,
  logits: usize, targets: usize, mask: usize, logSumExp: usize, dloss: usize,
  rows: i32, vocabSize: i32, ignoreIndex: i32, reduction: i32, divisor: i32,
): void {
  const share: f64 = 1 / <f64>divisor;
  const bytes = (<usize>vocabSize) << 2;
  for (let i = 0; i < rows; i++, logits += bytes, dlogits += bytes) {
    const at = <usize>i << 2;
    if (!isScored(targets, mask, at, ignoreIndex)) {
      memory.fill(dlogits, 0, bytes);
      continue;
    }
    const upstream = dloss ? <f64>load<f32>(dloss + (reduction == NONE ? at : 0)) : 1;
    const scale = upstream * share;
    if (logSumExp && abs<f32>(load<f32>(logSumExp + at)) <= PRECISE) {
      scaledExponentials(dlogits, logits, load<f32>(logSumExp + at), <f32>scale, vocabSize);
    } else {
      const total = exponentials(dlogits, logits, rowMaximum(logits, vocabSize), vocabSize);
      multiplyRow(dlogits, <f32>(scale / total), vocabSize);
    }
    const target = dlogits + (<usize>load<i32>(targets + at) << 2);
    store<f32>(target, load<f32>(target) - <f32>scale);
  }
}

function isScored(targets: usize, mask: usize, at: usize, ignoreIndex: i32): bool {
  return load<i32>(targets + at) != ignoreIndex && (mask == 0 || load<i32>(mask + at) != 0);
}

function rowMaximum(x: usize, size: i32): f32 {
  const none = v128.load(lowest);
  let a = none,
    b = none,
    c = none,
    d = none;
  for (; size >= 16; size -= 16, x += 64) {
    a = f32x4.pmax(a, v128.load(x));
    b = f32x4.pmax(b, v128.load(x, 16));
    c = f32x4.pmax(c, v128.load(x, 32));
    d = f32x4.pmax(d, v128.load(x, 48));
  }
  for (; size > 0; size -= 4, x += 16) {
    a = f32x4.pmax(a, v128.bitselect(loadTail(x, size), none, laneMask(size)));
  }
  return largest(f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d)));
}

/** Sum of e^(x - top) over a row, top being its maximum. Stores them at y, if it is not 0. */
function exponentials(y: usize, x: usize, top: f32, size: i32): f64 {
  const shift = f32x4.splat(top),
    zero = v128.load(zeros);
  let total: f64 = 0;
  while (size >= 8) {
    let block = min(size & ~7, BLOCK);
    size -= block;
    let a = zero,
      b = zero;
    for (; block > 0; block -= 8, x += 32) {
      const e0 = expNegative(f32x4.sub(v128.load(x), shift));
      const e1 = expNegative(f32x4.sub(v128.load(x, 16), shift));
      a = f32x4.add(a, e0);
      b = f32x4.add(b, e1);
      if (y) {
        v128.store(y, e0);
        v128.store(y, e1, 16);
        y += 32;
      }
    }
    total += <f64>sum(f32x4.add(a, b));
  }
  for (; size > 0; size -= 4, x += 16) {
    const e = v128.and(expNegative(f32x4.sub(loadTail(x, size), shift)), laneMask(size));
    total += <f64>sum(e);
    if (y) {
      storeTail(y, e, size);
      y += 16;
    }
  }
  return total;
}

/** y = scale e^(x - shift), where no result is much above scale. */
function scaledExponentials(y: usize, x: usize, shift: f32, scale: f32, size: i32): void {
  const subtrahend = f32x4.splat(shift),
    factor = f32x4.splat(scale);
  for (; size > 0; size -= 4, x += 16, y += 16) {
    storeTail(y, f32x4.mul(expNegative(f32x4.sub(loadTail(x, size), subtrahend)), factor), size);
  }
}

function multiplyRow(y: usize, factor: f32, size: i32): void {
  const factors = f32x4.splat(factor);
  for (; size >= 4; size -= 4, y += 16) v128.store(y, f32x4.mul(v128.load(y), factors));
  storeTail(y, f32x4.mul(loadTail(y, size), factors), size);
}

/** All bits of the first `count` lanes. */
function laneMask(count: i32): v128 {
  return v128.load(laneMasks + ((<usize>(4 - min(count, 4))) << 2));
}
