/**
 * Gradients of passes. With delta[t] = dO[t] . o[t] - dLogSumExp[t]:
 *
 *   ds[t,j] = p[t,j] (dO[t] . v[j] - delta[t])      dv[j] += sum_t p[t,j] dO[t]
 *   dq[t] += scale sum_j ds[t,j] k[j]               dk[j] += scale sum_t ds[t,j] q[t]
 */
import { areFinite, dot, roundUp, roundUpLarge } from '../matrix/rows';
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { addRows, packKeyPanels, packLanes, packRows, unpackLanes } from './panels';
import { openHead, openUnit, partOf, Pass, setRows } from './pass';
import { firstKey, lastKey, maskScores, scoreGradients, seesAll } from './scores';
import {
  bytes,
  KEY_TILE,
  LANES,
  lanesFloats,
  PANELS,
  QUERY_TILE,
  QUERY_TILE_BYTES,
  ROWS,
  roundDown,
  words,
} from './sizes';
import { addOuter, dots, mix, seeingQueries } from './tiles';

@unmanaged
class BackwardPass extends Pass {
  dq: usize;
  dO: usize;
  dLogSumExp: usize;
  // Of a tile of queries and a tile of keys, rows QUERY_TILE long.
  p: usize;
  ds: usize;
  // Of the queries of a tile; dq and dO by lanes, q and dO by rows.
  sums: usize;
  deltas: usize;
  dqT: usize;
  dOT: usize;
  qRows: usize;
  dORows: usize;
  // Of all keys of a unit.
  dkRows: usize;
  dvRows: usize;
  vPanels: usize;
  kRows: usize;
  // Bytes of their rows.
  headWide: usize;
  valueWide: usize;
  kWide: usize;
  keysAreFinite: bool;
  scales: usize; // eight times the scale
  ranges: usize; // of five keys, the queries that see each
  // The keys that are packed: their list, key head, batch item and range.
  packedKeys: usize;
  packedHead: usize;
  packedFirst: i32;
  packedLast: i32;
}

/** Where a pass is laid out of which only the size is asked. */
const nowhere: usize = memory.data(offsetof<BackwardPass>());

function layOut(c: BackwardPass, scratch: usize, keyCount: i32): void {
  const keys = roundUpLarge(<f64>keyCount, ROWS);
  const headWide = roundUpLarge(<f64>c.headDim, LANES);
  const valueWide = roundUpLarge(<f64>c.valueDim, LANES);
  c.headWide = <usize>(4 * headWide);
  c.valueWide = <usize>(4 * valueWide);
  c.kWide = words(roundUp(c.headDim, ROWS));
  c.qPanel = <usize>(4 * lanesFloats(c.headDim));
  c.oPanel = <usize>(4 * lanesFloats(c.valueDim));
  startScratch(scratch, offsetof<BackwardPass>());
  c.p = takeFloats(KEY_TILE * QUERY_TILE);
  c.ds = takeFloats(KEY_TILE * QUERY_TILE);
  c.sums = takeFloats(QUERY_TILE);
  c.deltas = takeFloats(QUERY_TILE);
  c.scales = takeFloats(LANES);
  c.ranges = takeFloats(2 * LANES);
  c.qT = takeFloats(<f64>PANELS * lanesFloats(c.headDim));
  c.dqT = takeFloats(<f64>PANELS * lanesFloats(c.headDim));
  c.dOT = takeFloats(<f64>PANELS * lanesFloats(c.valueDim));
  c.qRows = takeFloats(QUERY_TILE * headWide);
  c.dORows = takeFloats(QUERY_TILE * valueWide);
  c.dkRows = takeFloats(keys * headWide);
  c.dvRows = takeFloats(keys * valueWide);
  // The last panel runs into what follows, which is filled later.
  c.kPanels = takeFloats(keys * <f64>c.headDim);
  c.vPanels = takeFloats(keys * <f64>c.valueDim);
  c.kRows = takeFloats(keys * roundUpLarge(<f64>c.headDim, ROWS));
}

/** Bytes of scratch memory, for parts that see at most so many keys. */
export function softmaxAttentionBackwardScratchBytes(keyCount: i32, headDim: i32, valueDim: i32): f64 {
  const c = changetype<BackwardPass>(nowhere);
  c.headDim = headDim;
  c.valueDim = valueDim;
  layOut(c, 0, keyCount);
  return scratchEnd();
}

/**
 * Adds the gradients of some units to dq, dk and dv. o and logSumExp are those of all passes together. dLogSumExp may be
 * absent. Parts of a pass share its keys: if there are several, each leaves its dk and dv in `partials`, of which each
 * unit has partialBytes, for softmaxAttentionBackwardSums to add up. keyCount is the most that a part sees.
 */
// prettier-ignore
export function softmaxAttentionBackward(
  dq: usize, dk: usize, dv: usize,
  dO: usize, dLogSumExp: usize, q: usize, k: usize, v: usize, o: usize, logSumExp: usize, alibiSlopes: usize,
  table: usize, partials: usize, partialBytes: usize,
  parts: i32, keyCount: i32, qLen: i32, kLen: i32, nHeads: i32, nKvHeads: i32, headDim: i32, valueDim: i32,
  scale: f32, scratch: usize, first: i32, count: i32,
): void {
  const c = changetype<BackwardPass>(scratch);
  c.q = q; c.k = k; c.v = v; c.o = o; c.logSumExp = logSumExp; c.alibiSlopes = alibiSlopes;
  c.qLen = qLen; c.kLen = kLen; c.nHeads = nHeads; c.nKvHeads = nKvHeads; c.headDim = headDim; c.valueDim = valueDim;
  c.scale = scale; c.dq = dq; c.dO = dO; c.dLogSumExp = dLogSumExp;
  setRows(c);
  layOut(c, scratch, keyCount);
  v128.store(c.scales, f32x4.splat(scale));
  v128.store(c.scales, f32x4.splat(scale), 16);
  c.packedKeys = 0;
  for (const last = first + count; first < last; first++) {
    if (!openUnit(c, table, parts, first)) continue;
    if (parts > 1) c.dkRows = partials + <usize>first * partialBytes;
    gradientsOfUnit(c);
    if (parts > 1) continue;
    const list = c.keys + words(c.firstKey), keys = c.lastKey - c.firstKey;
    addRows(dk + (c.kh - k), c.kRow, list, c.dkRows, c.headWide, keys, headDim);
    addRows(dv + (c.vh - v), c.vRow, list, c.dvRows, c.valueWide, keys, valueDim);
  }
}

/** dq, dkRows and dvRows. */
function gradientsOfUnit(c: BackwardPass): void {
  const padded = roundUp(c.lastKey - c.firstKey, ROWS);
  packKeys(c, padded);
  c.dvRows = c.dkRows + <usize>padded * c.headWide;
  memory.fill(c.dkRows, 0, <usize>padded * (c.headWide + c.valueWide));
  for (let h = c.firstHead; h < c.lastHead; h++) {
    openHead(c, h);
    for (c.start = c.firstQuery; c.start < c.lastQuery; c.start += QUERY_TILE) {
      c.stop = min(c.start + QUERY_TILE, c.lastQuery);
      openQueries(c);
      const end = load<i32>(c.to + words(c.stop) - 4);
      for (let key = roundDown(load<i32>(c.from + words(c.start))); key < end; key += KEY_TILE) {
        const tileEnd = min(key + KEY_TILE, end);
        gradientsOfScores(c, key, tileEnd);
        gradientsOfKeys(c, key, tileEnd);
      }
      closeQueries(c);
    }
  }
}

/** Keys and values of the unit, unless those of the unit before begin with them. */
// prettier-ignore
function packKeys(c: BackwardPass, padded: i32): void {
  const sameHead = c.packedKeys == c.keys && c.packedHead == c.kh;
  if (sameHead && c.packedFirst == c.firstKey && c.packedLast >= c.lastKey) return;
  c.packedKeys = c.keys; c.packedHead = c.kh; c.packedFirst = c.firstKey; c.packedLast = c.lastKey;
  const list = c.keys + words(c.firstKey), count = c.lastKey - c.firstKey;
  packKeyPanels(c.kPanels, c.kh, c.kRow, list, count, c.headDim);
  packKeyPanels(c.vPanels, c.vh, c.vRow, list, count, c.valueDim);
  packRows(c.kRows, c.kWide, c.kh, c.kRow, list, count, padded, c.headDim, 1);
  c.keysAreFinite =
    areFinite(c.vPanels, <usize>padded * <usize>c.valueDim) && areFinite(c.kRows, <usize>padded * (c.kWide >> 2));
}

/** Floats of the partial sums of one unit. */
export function softmaxAttentionBackwardPartialFloats(keyCount: i32, headDim: i32, valueDim: i32): f64 {
  return (
    roundUpLarge(<f64>keyCount, ROWS) *
    (roundUpLarge(<f64>headDim, LANES) + roundUpLarge(<f64>valueDim, LANES))
  );
}

/**
 * Adds the partial sums of the parts of each pass to dk and dv, part after part. A unit is a key number, of keyCount per
 * pass and key head.
 */
// prettier-ignore
export function softmaxAttentionBackwardSums(
  dk: usize, dv: usize, table: usize, partials: usize, partialBytes: usize,
  parts: i32, keyCount: i32, kLen: i32, nKvHeads: i32, headDim: i32, valueDim: i32, first: i32, count: i32,
): void {
  const kRow = bytes(nKvHeads, headDim), vRow = bytes(nKvHeads, valueDim);
  const headWide = words(roundUp(headDim, LANES)), valueWide = words(roundUp(valueDim, LANES));
  while (count > 0) {
    const ofHead = first / keyCount, from = first - ofHead * keyCount, to = min(keyCount, from + count);
    for (let unit = ofHead * parts; unit < (ofHead + 1) * parts; unit++) {
      const part = partOf(table, parts, nKvHeads, unit);
      if (part.start == part.stop) continue;
      const row = part.item * kLen * nKvHeads + (ofHead % nKvHeads), firstKey = part.firstKey, lastKey = part.lastKey;
      const begin = max(from, firstKey), keys = min(to, lastKey) - begin;
      const list = part.keys + words(begin);
      const dkRows = partials + <usize>unit * partialBytes;
      const dvRows = dkRows + <usize>roundUp(lastKey - firstKey, ROWS) * headWide;
      const done = <usize>(begin - firstKey);
      addRows(dk + bytes(row, headDim), kRow, list, dkRows + done * headWide, headWide, keys, headDim);
      addRows(dv + bytes(row, valueDim), vRow, list, dvRows + done * valueWide, valueWide, keys, valueDim);
    }
    first += to - from;
    count -= to - from;
  }
}

/** Queries, upstream gradients, sums and deltas of a tile. */
// prettier-ignore
function openQueries(c: BackwardPass): void {
  const count = c.stop - c.start, list = c.queries + words(c.start), whole = roundUp(count, LANES);
  const q = c.q + c.qh, dO = c.dO + c.oh;
  packRows(c.qRows, c.headWide, q, c.qRow, list, count, whole, c.headDim, c.scale);
  packRows(c.dORows, c.valueWide, dO, c.oRow, list, count, whole, c.valueDim, 1);
  memory.fill(c.sums, 0, 2 * QUERY_TILE_BYTES);
  for (let n = 0; n < count; n++) {
    const t = load<i32>(list + words(n));
    const at = c.sh + words(t);
    const logSum = load<f32>(c.logSumExp + at);
    // A query without keys: all masked, so that any finite number will do.
    store<f32>(c.sums + words(n), logSum == -Infinity ? 0 : logSum);
    const delta = dot(c.dORows + <usize>n * c.valueWide, c.o + c.oh + <usize>t * c.oRow, c.valueDim);
    store<f32>(c.deltas + words(n), c.dLogSumExp == 0 ? delta : delta - load<f32>(c.dLogSumExp + at));
  }
  // Of sums and deltas, which follow each other, those beyond the queries are 0.
  c.edges = !(
    c.keysAreFinite && areFinite(c.sums, 2 * QUERY_TILE) && areFinite(c.qRows, <usize>count * (c.headWide >> 2)) &&
    areFinite(c.dORows, <usize>count * (c.valueWide >> 2))
  );
  let qT = c.qT, dOT = c.dOT;
  for (let n = c.start; n < c.stop; n += LANES, qT += c.qPanel, dOT += c.oPanel) {
    packLanes(qT, q, c.qRow, c.queries + words(n), c.stop - n, c.headDim, c.scale);
    packLanes(dOT, dO, c.oRow, c.queries + words(n), c.stop - n, c.valueDim, 1);
  }
  memory.fill(c.dqT, 0, PANELS * c.qPanel);
}

/** p and ds of a tile of queries and the keys key <= j < end, and dq. */
// prettier-ignore
function gradientsOfScores(c: BackwardPass, key: i32, end: i32): void {
  const stop = c.stop, headDim = c.headDim, valueDim = c.valueDim;
  let qT = c.qT, dOT = c.dOT, dqT = c.dqT;
  for (let n = c.start; n < stop; n += LANES, qT += c.qPanel, dOT += c.oPanel, dqT += c.qPanel) {
    const lane = words(n - c.start), from = c.from + words(n), to = c.to + words(n);
    const first = firstKey(c.from, n, key);
    const rows = roundUp(max(0, lastKey(c.to, n, stop, end) - first), ROWS);
    if (rows == 0) continue;
    const corner = <usize>(first - key) * QUERY_TILE_BYTES + lane;
    const p = c.p + corner, ds = c.ds + corner;
    dots(p, QUERY_TILE_BYTES, c.kPanels + bytes(first - c.firstKey, headDim), qT, rows, headDim);
    dots(ds, QUERY_TILE_BYTES, c.vPanels + bytes(first - c.firstKey, valueDim), dOT, rows, valueDim);
    if (c.slope != 0 || !seesAll(c.from, c.to, n, stop, first, first + rows)) {
      maskScores(p, QUERY_TILE_BYTES, rows, first, c.keys, from, to, c.queries + words(n), c.queryOffset, c.slope);
    }
    scoreGradients(p, ds, rows, c.sums + lane, c.deltas + lane);
    mix(
      dqT, c.kRows + <usize>(first - c.firstKey) * c.kWide, c.kWide, ds, QUERY_TILE_BYTES,
      first, first + rows, c.edges, from, to, min(LANES, stop - n),
    );
  }
}

/** dk and dv of the keys key <= j < end, from p and ds. */
// prettier-ignore
function gradientsOfKeys(c: BackwardPass, key: i32, end: i32): void {
  const from = c.from + words(c.start), to = c.to + words(c.start), count = c.stop - c.start;
  for (let j = key; j < end; j += ROWS) {
    seeingQueries(c.ranges, j, min(ROWS, c.lastKey - j), from, to, count);
    const corner = <usize>(j - key) * QUERY_TILE_BYTES, row = <usize>(j - c.firstKey);
    addOuter(c.dkRows + row * c.headWide, c.headWide, c.ds + corner, c.qRows, c.ranges, c.edges);
    addOuter(c.dvRows + row * c.valueWide, c.valueWide, c.p + corner, c.dORows, c.ranges, c.edges);
  }
}

function closeQueries(c: BackwardPass): void {
  let dqT = c.dqT;
  for (let n = c.start; n < c.stop; n += LANES, dqT += c.qPanel) {
    unpackLanes(c.dq + c.qh, c.qRow, c.queries + words(n), dqT, c.scales, c.stop - n, c.headDim, true);
  }
}
