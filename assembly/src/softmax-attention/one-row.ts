/** Queries one by one, for a few of them; and the weights themselves. */
import { roundUpLarge } from '../matrix/rows';
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { expNegative, loadTail, madd, storeTail, sum } from '../simd';
import { openHead, openUnit, Pass, setRows } from './pass';
import { bytes, LOWEST, words } from './sizes';

/**
 * scores[j - first] of query number n of the head for the key numbers first <= j < last, four at a time.
 */
// prettier-ignore
function scoreRow(c: Pass, scores: usize, n: i32, first: i32, last: i32): void {
  const t = load<i32>(c.queries + words(n)), headDim = c.headDim;
  const q = c.q + c.qh + <usize>t * c.qRow, k = c.kh, keys = c.keys, kRow = c.kRow;
  const position = c.queryOffset + t;
  const whole = words(headDim & ~3);
  const rest = headDim & 3;
  const scales = f32x4.splat(c.scale), slopes = f32x4.splat(c.slope), positions = i32x4.splat(position);
  for (let j = first; j < last; j += 4, scores += 16) {
    const list = keys + words(j);
    // The last four may go beyond the keys: those are then the first of the four again.
    const row0 = k + <usize>load<i32>(list) * kRow;
    const row1 = j + 1 < last ? k + <usize>load<i32>(list, 4) * kRow : row0;
    const row2 = j + 2 < last ? k + <usize>load<i32>(list, 8) * kRow : row0;
    const row3 = j + 3 < last ? k + <usize>load<i32>(list, 12) * kRow : row0;
    let a = f32x4.splat(0), b = a, c = a, d = a;
    for (let i: usize = 0; i < whole; i += 16) {
      const x = v128.load(q + i);
      a = madd(x, v128.load(row0 + i), a);
      b = madd(x, v128.load(row1 + i), b);
      c = madd(x, v128.load(row2 + i), c);
      d = madd(x, v128.load(row3 + i), d);
    }
    if (rest) {
      const x = loadTail(q + whole, rest);
      a = madd(x, loadTail(row0 + whole, rest), a);
      b = madd(x, loadTail(row1 + whole, rest), b);
      c = madd(x, loadTail(row2 + whole, rest), c);
      d = madd(x, loadTail(row3 + whole, rest), d);
    }
    const ab = f32x4.add(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
    const cd = f32x4.add(i32x4.shuffle(c, d, 0, 4, 1, 5), i32x4.shuffle(c, d, 2, 6, 3, 7));
    const dots = f32x4.add(i64x2.shuffle(ab, cd, 0, 2), i64x2.shuffle(ab, cd, 1, 3));
    const distances = f32x4.convert_i32x4_s(i32x4.sub(v128.load(list), positions));
    v128.store(scores, madd(dots, scales, f32x4.mul(slopes, distances)));
  }
}

/** Query number n of the head: scores, then their softmax, then the values. */
export function attendRow(c: Pass, scores: usize, n: i32, continued: bool): void {
  const t = load<i32>(c.queries + words(n));
  const first = load<i32>(c.from + words(n));
  const last = load<i32>(c.to + words(n));
  const logSumExp = c.logSumExp + c.sh + words(t);
  scoreRow(c, scores, n, first, last);
  const before: f32 = continued ? load<f32>(logSumExp) : -Infinity;
  const end = scores + words(max(last - first, 0));
  let most: f32 = before > LOWEST ? before : LOWEST;
  for (let at = scores; at < end; at += 4) most = load<f32>(at) > most ? load<f32>(at) : most;

  const kept = f32x4.extract_lane(expNegative(f32x4.splat(before - most)), 0);
  const maxima = f32x4.splat(most);
  let totals = f32x4.splat(0);
  for (let at = scores; at < end; at += 16) {
    const count = <i32>((end - at) >> 2);
    const p = expNegative(f32x4.sub(v128.load(at), maxima));
    v128.store(at, p);
    // Lanes beyond the keys do not count.
    if (count >= 4) totals = f32x4.add(totals, p);
    else totals = f32x4.add(totals, loadTail(at, count));
  }
  const total = kept + sum(totals);
  store<f32>(logSumExp, total == 0 ? -Infinity : most + Mathf.log(total));
  const share: f32 = total == 0 ? 0 : 1 / total;
  const shares = f32x4.splat(share),
    keptShares = f32x4.splat(kept * share);

  const width = words(c.valueDim);
  const list = c.keys + words(first);
  const o = c.o + c.oh + <usize>t * c.oRow;
  const v = c.vh;
  const vRow = c.vRow;
  let w: usize = 0;
  for (; w + 128 <= width; w += 128) {
    let a0 = f32x4.splat(0),
      a1 = a0,
      a2 = a0,
      a3 = a0,
      a4 = a0,
      a5 = a0,
      a6 = a0,
      a7 = a0;
    for (let at = scores; at < end; at += 4) {
      const row = v + <usize>load<i32>(list + (at - scores)) * vRow + w;
      const p = v128.load32_splat(at);
      a0 = madd(p, v128.load(row), a0);
      a1 = madd(p, v128.load(row, 16), a1);
      a2 = madd(p, v128.load(row, 32), a2);
      a3 = madd(p, v128.load(row, 48), a3);
      a4 = madd(p, v128.load(row, 64), a4);
      a5 = madd(p, v128.load(row, 80), a5);
      a6 = madd(p, v128.load(row, 96), a6);
      a7 = madd(p, v128.load(row, 112), a7);
    }
    const out = o + w;
    storeMixed(out, a0, shares, keptShares, 4, continued);
    storeMixed(out + 16, a1, shares, keptShares, 4, continued);
    storeMixed(out + 32, a2, shares, keptShares, 4, continued);
    storeMixed(out + 48, a3, shares, keptShares, 4, continued);
    storeMixed(out + 64, a4, shares, keptShares, 4, continued);
    storeMixed(out + 80, a5, shares, keptShares, 4, continued);
    storeMixed(out + 96, a6, shares, keptShares, 4, continued);
    storeMixed(out + 112, a7, shares, keptShares, 4, continued);
  }
  for (; w < width; w += 16) {
    const count = <i32>((width - w) >> 2);
    let a = f32x4.splat(0);
    for (let at = scores; at < end; at += 4) {
      a = madd(
        v128.load32_splat(at),
        loadTail(v + <usize>load<i32>(list + (at - scores)) * vRow + w, count),
        a,
      );
    }
    storeMixed(o + w, a, shares, keptShares, count, continued);
  }
}

function storeMixed(o: usize, x: v128, shares: v128, keptShares: v128, count: i32, continued: bool): void {
  const y = f32x4.mul(x, shares);
  storeTail(o, continued ? madd(loadTail(o, count), keptShares, y) : y, count);
}

/** @returns where the scores of a query are, behind what the call keeps of itself */
export function startRows(scratch: usize, header: usize): usize {
  startScratch(scratch, header);
  return takeFloats(0);
}

export function rowScratchBytes(header: usize, keyCount: i32): f64 {
  startScratch(0, header);
  takeFloats(roundUpLarge(<f64>keyCount, 4));
  return scratchEnd();
}

/** Bytes of scratch memory: the scores of a query. */
export function softmaxAttentionWeightsScratchBytes(keyCount: i32): f64 {
  return rowScratchBytes(offsetof<Pass>(), keyCount);
}

/** weights[item, h, t, j] = p[t,j], into matrices [nHeads, qLen, kLen] that hold zeros elsewhere: some units. */
// prettier-ignore
export function softmaxAttentionWeights(
  weights: usize, logSumExp: usize, q: usize, k: usize, alibiSlopes: usize, table: usize,
  parts: i32, qLen: i32, kLen: i32, nHeads: i32, nKvHeads: i32, headDim: i32,
  scale: f32, scratch: usize, first: i32, count: i32,
): void {
  const c = changetype<Pass>(scratch);
  c.q = q; c.k = k; c.alibiSlopes = alibiSlopes; c.logSumExp = logSumExp;
  c.qLen = qLen; c.kLen = kLen; c.nHeads = nHeads; c.nKvHeads = nKvHeads; c.headDim = headDim; c.valueDim = 0;
  c.scale = scale;
  setRows(c);
  const scores = startRows(scratch, offsetof<Pass>());
  for (const last = first + count; first < last; first++) {
    if (!openUnit(c, table, parts, first)) continue;
    for (let h = c.firstHead; h < c.lastHead; h++) {
      openHead(c, h);
      for (let n = c.firstQuery; n < c.lastQuery; n++) weighRow(c, weights, scores, n);
    }
  }
}

function weighRow(c: Pass, weights: usize, scores: usize, n: i32): void {
  const at = c.sh + words(load<i32>(c.queries + words(n)));
  const first = load<i32>(c.from + words(n));
  const last = load<i32>(c.to + words(n));
  scoreRow(c, scores, n, first, last);
  const sums = f32x4.splat(load<f32>(c.logSumExp + at));
  const row = weights + at * <usize>c.kLen;
  for (let j = first; j < last; j += 4) {
    const p = scores + words(j - first);
    v128.store(p, expNegative(f32x4.sub(v128.load(p), sums)));
    for (let i = 0; i < min(4, last - j); i++) {
      const key = load<i32>(c.keys + words(j + i));
      store<f32>(row + words(key), load<f32>(p + words(i)));
    }
  }
}
