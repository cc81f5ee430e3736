/** One pass, forward: see softmax-attention.ts. */
import { areFinite, roundUp, roundUpLarge } from '../matrix/rows';
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { attendRow, softmaxAttentionWeightsScratchBytes } from './one-row';
import { packKeyPanels, packLanes, packRows, unpackLanes } from './panels';
import { Pass, setRows } from './pass';
import {
  closePanel,
  exponentials,
  firstKey,
  lastKey,
  maskScores,
  openPanel,
  seesAll,
  slopeOf,
} from './scores';
import {
  bytes,
  FEW,
  KEY_TILE,
  LANE_BYTES,
  LANES,
  lanesFloats,
  PANELS,
  QUERY_TILE,
  ROWS,
  roundDown,
  words,
} from './sizes';
import { dots, mix } from './tiles';

@unmanaged
class ForwardPass extends Pass {
  continued: bool;
  scores: usize; // of a panel and a tile of keys
  maxima: usize; // of the queries of a tile
  totals: usize;
  oT: usize;
  vRows: usize;
  vWide: usize; // bytes of one of them
  qh: usize; // of this head
  oh: usize;
  sums: usize;
}

/** Where a pass is laid out of which only the size is asked. */
const nowhere: usize = memory.data(offsetof<ForwardPass>());

function layOut(c: ForwardPass, scratch: usize): void {
  const keys = roundUpLarge(<f64>c.keyCount, ROWS);
  startScratch(scratch, offsetof<ForwardPass>());
  c.scores = takeFloats(KEY_TILE * LANES);
  c.maxima = takeFloats(QUERY_TILE);
  c.totals = takeFloats(QUERY_TILE);
  c.qT = takeFloats(<f64>PANELS * lanesFloats(c.headDim));
  c.oT = takeFloats(<f64>PANELS * lanesFloats(c.valueDim));
  c.kPanels = takeFloats(keys * <f64>c.headDim);
  c.vRows = takeFloats(keys * roundUpLarge(<f64>c.valueDim, ROWS)); // behind kPanels, whose last panel runs into it
  c.qPanel = <usize>(4 * lanesFloats(c.headDim));
  c.oPanel = <usize>(4 * lanesFloats(c.valueDim));
  c.vWide = words(roundUp(c.valueDim, ROWS));
}

/** Bytes of scratch memory. */
// prettier-ignore
export function softmaxAttentionForwardScratchBytes(
  queryCount: i32, keyCount: i32, headDim: i32, valueDim: i32,
): f64 {
  if (queryCount < FEW) return softmaxAttentionWeightsScratchBytes(keyCount);
  const c = changetype<ForwardPass>(nowhere);
  c.keyCount = keyCount; c.headDim = headDim; c.valueDim = valueDim;
  layOut(c, 0);
  return scratchEnd();
}

/** One pass. @returns the number of scores computed, with those that a mask then takes out */
// prettier-ignore
export function softmaxAttentionForward(
  o: usize, logSumExp: usize,
  q: usize, k: usize, v: usize, alibiSlopes: usize,
  queries: usize, keys: usize, from: usize, to: usize, scratch: usize,
  queryCount: i32, keyCount: i32, qLen: i32, nHeads: i32, nKvHeads: i32, headDim: i32, valueDim: i32,
  queryOffset: i32, scale: f32, continued: bool,
): f64 {
  const group = nHeads / nKvHeads;
  let computed: f64 = 0;
  if (queryCount < FEW) {
    const kRow = bytes(nKvHeads, headDim), vRow = bytes(nKvHeads, valueDim);
    for (let h = 0; h < nHeads; h++) {
      const kh = k + bytes(h / group, headDim), vh = v + bytes(h / group, valueDim);
      for (let n = 0; n < queryCount; n++) {
        const t = load<i32>(queries + words(n));
        const first = load<i32>(from + words(n)), last = load<i32>(to + words(n));
        attendRow(
          o + bytes(t * nHeads + h, valueDim), logSumExp + words(h * qLen + t), q + bytes(t * nHeads + h, headDim),
          kh, vh, keys, scratch, kRow, vRow, first, last, headDim, valueDim,
          queryOffset + t, scale, slopeOf(alibiSlopes, h), continued,
        );
        computed += <f64>max(0, last - first);
      }
    }
    return computed;
  }

  const c = changetype<ForwardPass>(scratch);
  c.q = q; c.k = k; c.v = v; c.o = o; c.logSumExp = logSumExp; c.alibiSlopes = alibiSlopes;
  c.queries = queries; c.keys = keys; c.from = from; c.to = to;
  c.queryCount = queryCount; c.keyCount = keyCount; c.qLen = qLen; c.headDim = headDim; c.valueDim = valueDim;
  c.queryOffset = queryOffset; c.scale = scale; c.continued = continued;
  setRows(c, nHeads, nKvHeads);
  layOut(c, scratch);
  const padded = roundUp(keyCount, ROWS);
  for (let kv = 0; kv < nKvHeads; kv++) {
    packKeyPanels(c.kPanels, k + bytes(kv, headDim), c.kRow, keys, keyCount, headDim);
    packRows(c.vRows, c.vWide, v + bytes(kv, valueDim), c.vRow, keys, keyCount, padded, valueDim, 1);
    c.edges = !areFinite(c.vRows, <usize>padded * (c.vWide >> 2));
    for (let h = kv * group; h < (kv + 1) * group; h++) {
      c.slope = slopeOf(alibiSlopes, h);
      c.qh = q + bytes(h, headDim);
      c.oh = o + bytes(h, valueDim);
      c.sums = logSumExp + words(h * qLen);
      for (c.start = 0; c.start < queryCount; c.start += QUERY_TILE) {
        c.stop = min(c.start + QUERY_TILE, queryCount);
        openQueries(c);
        const end = load<i32>(to + words(c.stop) - 4);
        for (let key = roundDown(load<i32>(from + words(c.start))); key < end; key += KEY_TILE) {
          computed += <f64>attendTile(c, key, min(key + KEY_TILE, end));
        }
        closeQueries(c);
      }
    }
  }
  return computed;
}

function openQueries(c: ForwardPass): void {
  let qT = c.qT,
    oT = c.oT;
  for (let n = c.start; n < c.stop; n += LANES, qT += c.qPanel, oT += c.oPanel) {
    const lane = words(n - c.start),
      list = c.queries + words(n),
      count = c.stop - n;
    packLanes(qT, c.qh, c.qRow, list, count, c.headDim, c.scale);
    if (c.continued) packLanes(oT, c.oh, c.oRow, list, count, c.valueDim, 1);
    else memory.fill(oT, 0, c.oPanel);
    openPanel(c.maxima + lane, c.totals + lane, c.sums, list, count, c.continued);
  }
}

/** The queries of a tile meet the keys key <= j < end. @returns the number of scores */
// prettier-ignore
function attendTile(c: ForwardPass, key: i32, end: i32): i32 {
  const stop = c.stop, headDim = c.headDim, scores = c.scores;
  let qT = c.qT, oT = c.oT;
  let computed = 0;
  for (let n = c.start; n < stop; n += LANES, qT += c.qPanel, oT += c.oPanel) {
    const lane = words(n - c.start), from = c.from + words(n), to = c.to + words(n);
    const first = firstKey(c.from, n, key);
    const last = lastKey(c.to, n, stop, end);
    if (last <= first) continue;
    const rows = roundUp(last - first, ROWS);
    dots(scores, LANE_BYTES, c.kPanels + bytes(first, headDim), qT, rows, headDim);
    if (c.slope != 0 || !seesAll(c.from, c.to, n, stop, first, first + rows)) {
      maskScores(scores, LANE_BYTES, rows, first, c.keys, from, to, c.queries + words(n), c.queryOffset, c.slope);
    }
    exponentials(scores, rows, c.maxima + lane, c.totals + lane, oT, c.valueDim);
    mix(
      oT, c.vRows + <usize>first * c.vWide, c.vWide, scores, LANE_BYTES,
      first, last, c.edges, from, to, min(LANES, stop - n),
    );
    computed += rows * LANES;
  }
  return computed;
}

function closeQueries(c: ForwardPass): void {
  let oT = c.oT;
  for (let n = c.start; n < c.stop; n += LANES, oT += c.oPanel) {
    const lane = words(n - c.start);
    const list = c.queries + words(n);
    const count = c.stop - n;
    closePanel(c.maxima + lane, c.totals + lane, c.sums, list, count);
    unpackLanes(c.oh, c.oRow, list, oT, c.totals + lane, count, c.valueDim, false);
  }
}
