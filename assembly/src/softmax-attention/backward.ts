/**
 * Gradients of one pass. With delta[t] = dO[t] . o[t] - dLogSumExp[t]:
 *
 *   ds[t,j] = p[t,j] (dO[t] . v[j] - delta[t])      dv[j] += sum_t p[t,j] dO[t]
 *   dq[t] += scale sum_j ds[t,j] k[j]               dk[j] += scale sum_t ds[t,j] q[t]
 */
import { areFinite, dot, roundUp, roundUpLarge } from '../matrix/rows';
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { addRows, packKeyPanels, packLanes, packRows, unpackLanes } from './panels';
import { Pass, setRows } from './pass';
import { firstKey, lastKey, maskScores, scoreGradients, seesAll, slopeOf } from './scores';
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
  // Of all keys of a head.
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
  qh: usize; // bytes from the start of q to this head's; the same of o and of logSumExp
  oh: usize;
  sh: usize;
}

/** Where a pass is laid out of which only the size is asked. */
const nowhere: usize = memory.data(offsetof<BackwardPass>());

function layOut(c: BackwardPass, scratch: usize): void {
  const keys = roundUpLarge(<f64>c.keyCount, ROWS);
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

/** Bytes of scratch memory. */
export function softmaxAttentionBackwardScratchBytes(keyCount: i32, headDim: i32, valueDim: i32): f64 {
  const c = changetype<BackwardPass>(nowhere);
  c.keyCount = keyCount;
  c.headDim = headDim;
  c.valueDim = valueDim;
  layOut(c, 0);
  return scratchEnd();
}

/**
 * Adds the gradients of one pass to dq, dk and dv. o and logSumExp are those of all passes together. dLogSumExp may be
 * absent.
 */
// prettier-ignore
export function softmaxAttentionBackward(
  dq: usize, dk: usize, dv: usize,
  dO: usize, dLogSumExp: usize, q: usize, k: usize, v: usize, o: usize, logSumExp: usize, alibiSlopes: usize,
  queries: usize, keys: usize, from: usize, to: usize, scratch: usize,
  queryCount: i32, keyCount: i32, qLen: i32, nHeads: i32, nKvHeads: i32, headDim: i32, valueDim: i32,
  queryOffset: i32, scale: f32,
): void {
  const c = changetype<BackwardPass>(scratch);
  c.q = q; c.k = k; c.v = v; c.o = o; c.logSumExp = logSumExp; c.alibiSlopes = alibiSlopes;
  c.queries = queries; c.keys = keys; c.from = from; c.to = to;
  c.queryCount = queryCount; c.keyCount = keyCount; c.qLen = qLen; c.headDim = headDim; c.valueDim = valueDim;
  c.queryOffset = queryOffset; c.scale = scale; c.dq = dq; c.dO = dO; c.dLogSumExp = dLogSumExp;
  setRows(c, nHeads, nKvHeads);
  layOut(c, scratch);
  v128.store(c.scales, f32x4.splat(scale));
  v128.store(c.scales, f32x4.splat(scale), 16);
  const group = nHeads / nKvHeads;
  const padded = roundUp(keyCount, ROWS);
  for (let kv = 0; kv < nKvHeads; kv++) {
    const kh = bytes(kv, headDim), vh = bytes(kv, valueDim);
    packKeyPanels(c.kPanels, k + kh, c.kRow, keys, keyCount, headDim);
    packKeyPanels(c.vPanels, v + vh, c.vRow, keys, keyCount, valueDim);
    packRows(c.kRows, c.kWide, k + kh, c.kRow, keys, keyCount, padded, headDim, 1);
    memory.fill(c.dkRows, 0, <usize>padded * (c.headWide + c.valueWide));
    // vPanels and kRows, which follow each other.
    c.keysAreFinite = areFinite(c.vPanels, <usize>padded * (<usize>valueDim + (c.kWide >> 2)));
    for (let h = kv * group; h < (kv + 1) * group; h++) {
      c.slope = slopeOf(alibiSlopes, h);
      c.qh = bytes(h, headDim);
      c.oh = bytes(h, valueDim);
      c.sh = words(h * qLen);
      for (c.start = 0; c.start < queryCount; c.start += QUERY_TILE) {
        c.stop = min(c.start + QUERY_TILE, queryCount);
        openQueries(c);
        const end = load<i32>(to + words(c.stop) - 4);
        for (let key = roundDown(load<i32>(from + words(c.start))); key < end; key += KEY_TILE) {
          const tileEnd = min(key + KEY_TILE, end);
          gradientsOfScores(c, key, tileEnd);
          gradientsOfKeys(c, key, tileEnd);
        }
        closeQueries(c);
      }
    }
    addRows(dk + kh, c.kRow, keys, c.dkRows, c.headWide, keyCount, headDim);
    addRows(dv + vh, c.vRow, keys, c.dvRows, c.valueWide, keyCount, valueDim);
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
    dots(p, QUERY_TILE_BYTES, c.kPanels + bytes(first, headDim), qT, rows, headDim);
    dots(ds, QUERY_TILE_BYTES, c.vPanels + bytes(first, valueDim), dOT, rows, valueDim);
    if (c.slope != 0 || !seesAll(c.from, c.to, n, stop, first, first + rows)) {
      maskScores(p, QUERY_TILE_BYTES, rows, first, c.keys, from, to, c.queries + words(n), c.queryOffset, c.slope);
    }
    scoreGradients(p, ds, rows, c.sums + lane, c.deltas + lane);
    mix(
      dqT, c.kRows + <usize>first * c.kWide, c.kWide, ds, QUERY_TILE_BYTES,
      first, first + rows, c.edges, from, to, min(LANES, stop - n),
    );
  }
}

/** dk and dv of the keys key <= j < end, from p and ds. */
// prettier-ignore
function gradientsOfKeys(c: BackwardPass, key: i32, end: i32): void {
  const from = c.from + words(c.start), to = c.to + words(c.start), count = c.stop - c.start;
  for (let j = key; j < end; j += ROWS) {
    seeingQueries(c.ranges, j, min(ROWS, c.keyCount - j), from, to, count);
    const corner = <usize>(j - key) * QUERY_TILE_BYTES;
    addOuter(c.dkRows + <usize>j * c.headWide, c.headWide, c.ds + corner, c.qRows, c.ranges, c.edges);
    addOuter(c.dvRows + <usize>j * c.valueWide, c.valueWide, c.p + corner, c.dORows, c.ranges, c.edges);
  }
}

function closeQueries(c: BackwardPass): void {
  let dqT = c.dqT;
  for (let n = c.start; n < c.stop; n += LANES, dqT += c.qPanel) {
    unpackLanes(c.dq + c.qh, c.qRow, c.queries + words(n), dqT, c.scales, c.stop - n, c.headDim, true);
  }
}
