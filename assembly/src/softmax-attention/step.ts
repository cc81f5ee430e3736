/**
 * One new token per sequence against a cache: see softmax-attention.ts.
 *
 *   o  [batch, nHeads, valueDim]    q  [batch, nHeads, headDim]    k, v  [batch, nKvHeads, headDim or valueDim]
 *   kCache, vCache  [batch, capacity, nKvHeads, headDim or valueDim]    lengths  [batch], entries before this token
 *
 * The position of the token is its length; it sees itself and the entries before it, of these only the last `window`, if
 * that is not 0, and what the pattern leaves: 0 all; 1, strided, the last `stride` and those at a multiple of `stride`
 * from it; 2, fixed, its own block of `stride` and the last `summary` of each earlier block. A unit is a query head.
 */
import { roundUpLarge } from '../matrix/rows';
import { scratchEnd, startScratch, takeFloats } from '../matrix/scratch';
import { attendRow } from './one-row';
import { openHead, Pass, setRows } from './pass';
import { bytes, words } from './sizes';

const STRIDED: i32 = 1;

/** Its keys are in one list or two: the near ones, and those that a sparse pattern adds. */
@unmanaged
class StepPass extends Pass {
  near: usize;
  nearCount: i32;
  far: usize;
  farCount: i32;
  sum: usize; // its logSumExp
  scores: usize;
}

function layOut(c: StepPass, scratch: usize, capacity: i32): void {
  const keys = roundUpLarge(<f64>capacity, 4);
  startScratch(scratch, offsetof<StepPass>());
  c.queries = takeFloats(1);
  c.from = takeFloats(1);
  c.to = takeFloats(1);
  c.sum = takeFloats(1);
  c.scores = takeFloats(keys);
  c.near = takeFloats(keys + 8);
}

const nowhere: usize = memory.data(offsetof<StepPass>());

export function softmaxAttentionStepScratchBytes(capacity: i32): f64 {
  layOut(changetype<StepPass>(nowhere), 0, capacity);
  return scratchEnd();
}

/** Writes k and v into the caches, at the end of what is in use. Rows are of so many elements. */
// prettier-ignore
export function softmaxAttentionAppend(
  kCache: usize, vCache: usize, k: usize, v: usize, lengths: usize,
  batch: i32, capacity: i32, kRow: i32, vRow: i32,
): void {
  for (let b = 0; b < batch; b++) {
    const at = b * capacity + load<i32>(lengths + words(b));
    memory.copy(kCache + bytes(at, kRow), k + bytes(b, kRow), words(kRow));
    memory.copy(vCache + bytes(at, vRow), v + bytes(b, vRow), words(vRow));
  }
}

// prettier-ignore
export function softmaxAttentionStep(
  o: usize, q: usize, kCache: usize, vCache: usize, alibiSlopes: usize, lengths: usize,
  capacity: i32, nHeads: i32, nKvHeads: i32, headDim: i32, valueDim: i32,
  scale: f32, window: i32, pattern: i32, stride: i32, summary: i32,
  scratch: usize, first: i32, count: i32,
): void {
  const c = changetype<StepPass>(scratch);
  c.q = q; c.o = o; c.alibiSlopes = alibiSlopes;
  c.qLen = 1; c.nHeads = nHeads; c.nKvHeads = nKvHeads; c.headDim = headDim; c.valueDim = valueDim; c.scale = scale;
  setRows(c);
  layOut(c, scratch, capacity);
  store<i32>(c.queries, 0);
  store<i32>(c.from, 0);
  c.item = -1;
  const group = nHeads / nKvHeads;
  for (const last = first + count; first < last; first++) {
    const item = first / nHeads, h = first % nHeads;
    if (item != c.item) {
      c.item = item;
      c.queryOffset = load<i32>(lengths + words(item));
      listKeys(c, c.queryOffset, window, pattern, stride, summary);
    }
    const head = item * capacity * nKvHeads + h / group;
    c.kh = kCache + bytes(head, headDim);
    c.vh = vCache + bytes(head, valueDim);
    openHead(c, h);
    c.logSumExp = c.sum - c.sh;
    attend(c, c.near, c.nearCount, false);
    if (c.farCount > 0) attend(c, c.far, c.farCount, true);
  }
}

function attend(c: StepPass, keys: usize, count: i32, continued: bool): void {
  c.keys = keys;
  store<i32>(c.to, count);
  attendRow(c, c.scores, 0, continued);
}

function listKeys(c: StepPass, position: i32, window: i32, pattern: i32, stride: i32, summary: i32): void {
  const oldest = window == 0 ? 0 : max(0, position - window + 1);
  // The first of the near keys that the pattern has, and the first position that is beyond the far ones.
  let near = 0;
  if (pattern != 0)
    near = pattern == STRIDED ? max(0, position - stride + 1) : position - (position % stride);
  const start = max(near, oldest);
  c.nearCount = position + 1 - start;
  for (let n = 0; n < c.nearCount; n++) store<i32>(c.near + words(n), start + n);
  c.far = c.near + words((c.nearCount + 3) & ~3);
  c.farCount = 0;
  if (pattern == 0) return;
  const run = pattern == STRIDED ? 1 : summary;
  const inBlock = pattern == STRIDED ? position % stride : stride - summary;
  for (let at = inBlock; at < near; at += stride) {
    for (let i = 0; i < run; i++) {
      if (at + i < oldest) continue;
      store<i32>(c.far + words(c.farCount), at + i);
      c.farCount++;
    }
  }
}
