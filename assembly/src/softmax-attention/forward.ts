/** Passes, forward: see softmax-attention.ts. */
import { areFinite, roundUp, roundUpLarge } from '../matrix/rows';
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { attendRow, rowScratchBytes, startRows } from './one-row';
import { packKeyPanels, packLanes, packRows, unpackLanes } from './panels';
import { openHead, openUnit, Pass, setRows } from './pass';
import { closePanel, exponentials, firstKey, lastKey, maskScores, openPanel, seesAll } from './scores';
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
}

/** Where a pass is laid out of which only the size is asked. */
const nowhere: usize = memory.data(offsetof<ForwardPass>());

function layOut(c: ForwardPass, scratch: usize, keyCount: i32): void {
  const keys = roundUpLarge(<f64>keyCount, ROWS);
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

/** Bytes of scratch memory, for passes of at most so many queries and parts that see at most so many keys. */
// prettier-ignore
export function softmaxAttentionForwardScratchBytes(
  queryCount: i32, keyCount: i32, headDim: i32, valueDim: i32,
): f64 {
  if (queryCount < FEW) return rowScratchBytes(offsetof<ForwardPass>(), keyCount);
  const c = changetype<ForwardPass>(nowhere);
  c.headDim = headDim; c.valueDim = valueDim;
  layOut(c, 0, keyCount);
  return scratchEnd();
}

/** Some units. Leaves the number of scores computed at the start of scratch, as f64. */
// prettier-ignore
export function softmaxAttentionForward(
  o: usize, logSumExp: usize,
  q: usize, k: usize, v: usize, alibiSlopes: usize, table: usize,
  parts: i32, qLen: i32, kLen: i32, nHeads: i32, nKvHeads: i32, headDim: i32, valueDim: i32,
  scale: f32, continued: bool, scratch: usize, first: i32, count: i32,
): void {
  const c = changetype<ForwardPass>(scratch);
  c.computed = 0;
  c.q = q; c.k = k; c.v = v; c.o = o; c.logSumExp = logSumExp; c.alibiSlopes = alibiSlopes;
  c.qLen = qLen; c.kLen = kLen; c.nHeads = nHeads; c.nKvHeads = nKvHeads; c.headDim = headDim; c.valueDim = valueDim;
  c.scale = scale; c.continued = continued;
  setRows(c);
  for (const last = first + count; first < last; first++) {
    if (!openUnit(c, table, parts, first)) continue;
    if (c.queryCount < FEW) attendRows(c);
    else attendQueries(c);
  }
}

function attendRows(c: ForwardPass): void {
  const scores = startRows(changetype<usize>(c), offsetof<ForwardPass>());
  for (let h = c.firstHead; h < c.lastHead; h++) {
    openHead(c, h);
    for (let n = c.firstQuery; n < c.lastQuery; n++) {
      attendRow(c, scores, n, c.continued);
      c.computed += <f64>max(0, load<i32>(c.to + words(n)) - load<i32>(c.from + words(n)));
    }
  }
}

// prettier-ignore
function attendQueries(c: ForwardPass): void {
  const keyCount = c.lastKey - c.firstKey, padded = roundUp(keyCount, ROWS);
  const list = c.keys + words(c.firstKey);
  layOut(c, changetype<usize>(c), keyCount);
  packKeyPanels(c.kPanels, c.kh, c.kRow, list, keyCount, c.headDim);
  packRows(c.vRows, c.vWide, c.vh, c.vRow, list, keyCount, padded, c.valueDim, 1);
  c.edges = !areFinite(c.vRows, <usize>padded * (c.vWide >> 2));
  for (let h = c.firstHead; h < c.lastHead; h++) {
    openHead(c, h);
    for (c.start = c.firstQuery; c.start < c.lastQuery; c.start += QUERY_TILE) {
      c.stop = min(c.start + QUERY_TILE, c.lastQuery);
      openQueries(c);
      const end = load<i32>(c.to + words(c.stop) - 4);
      for (let key = roundDown(load<i32>(c.from + words(c.start))); key < end; key += KEY_TILE) {
        c.computed += <f64>attendTile(c, key, min(key + KEY_TILE, end));
      }
      closeQueries(c);
    }
  }
}

function openQueries(c: ForwardPass): void {
  let qT = c.qT,
    oT = c.oT;
  for (let n = c.start; n < c.stop; n += LANES, qT += c.qPanel, oT += c.oPanel) {
    const lane = words(n - c.start),
      list = c.queries + words(n),
      count = c.stop - n;
    packLanes(qT, c.q + c.qh, c.qRow, list, count, c.headDim, c.scale);
    if (c.continued) packLanes(oT, c.o + c.oh, c.oRow, list, count, c.valueDim, 1);
    else memory.fill(oT, 0, c.oPanel);
    openPanel(c.maxima + lane, c.totals + lane, c.logSumExp + c.sh, list, count, c.continued);
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
    dots(scores, LANE_BYTES, c.kPanels + bytes(first - c.firstKey, headDim), qT, rows, headDim);
    if (c.slope != 0 || !seesAll(c.from, c.to, n, stop, first, first + rows)) {
      maskScores(scores, LANE_BYTES, rows, first, c.keys, from, to, c.queries + words(n), c.queryOffset, c.slope);
    }
    exponentials(scores, rows, c.maxima + lane, c.totals + lane, oT, c.valueDim);
    mix(
      oT, c.vRows + <usize>(first - c.firstKey) * c.vWide, c.vWide, scores, LANE_BYTES,
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
    closePanel(c.maxima + lane, c.totals + lane, c.logSumExp + c.sh, list, count);
    unpackLanes(c.o + c.oh, c.oRow, list, oT, c.totals + lane, count, c.valueDim, false);
  }
}
