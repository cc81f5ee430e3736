/**
 * Gradients of the delta rule; see ../delta-rule.
 *
 * Each pass moves a state over blocks of steps. Where there are fewer heads than threads to share them, the call is made
 * of phases instead, which do the same for each number:
 *
 *   ERRORS    S, of a piece of the value columns of a head: e
 *   PRODUCTS  o . do of a block of steps, where the decay has a gradient
 *   SLOPES    P, of a piece of the value columns: w and dv
 *   KEYS      S and P, transposed, of a piece of the key channels: dq and dk, unless they are normalised; dbeta and
 *             ddecay of a head count as one more piece
 *   FINISH    dq and dk of a block of steps
 *
 * Rows that a phase gives to the next, and what the heads have besides, then lie in memory that threads share.
 */
import { scratchEnd } from '../matrix/scratch';
import { padded, paddedBytes } from '../state/rows';
import { BLOCK } from '../state/tiles';
import { BackwardCall, layOut, layOutHead, panelsAt, touchRows } from './backward-call';
import { openHead, openKeys, openValues } from '../state/head-piece';
import {
  errorsOfBlock,
  finishKeys,
  finishQueries,
  finishState,
  productsOfBlock,
  readsOfBlock,
  slopesOfBlock,
  startErrors,
  startReads,
  startSlopes,
  startWrites,
  stepGradients,
  stepsBefore,
  stepsFrom,
  writesOfBlock,
} from './backward-passes';

const HEADS: i32 = 0;
const ERRORS: i32 = 1;
const PRODUCTS: i32 = 2;
const SLOPES: i32 = 3;
const KEYS: i32 = 4;

/** Where a call is laid out of which only the size is asked. */
const nowhere: usize = memory.data(offsetof<BackwardCall>());

/** Bytes of scratch memory for so many heads of an item of the batch at a time. */
export function deltaRuleBackwardScratchBytes(seqLen: i32, nHeads: i32, dKey: i32, dValue: i32): f64 {
  const c = changetype<BackwardCall>(nowhere);
  layOut(c, 0, offsetof<BackwardCall>(), dKey, dValue);
  return scratchEnd() + <f64>nHeads * layOutHead(c, 0, seqLen, dKey, dValue);
}

/** Bytes of memory that phases share, for so many heads of the batch. */
export function deltaRuleBackwardSharedBytes(heads: i32, seqLen: i32, dKey: i32, dValue: i32): f64 {
  const c = changetype<BackwardCall>(nowhere);
  const rows = <f64>seqLen * (2 * paddedBytes(dKey) + paddedBytes(dValue));
  return <f64>heads * (layOutHead(c, 0, seqLen, dKey, dValue) + rows);
}

/**
 * Gradients of {@link deltaRuleForward}. Upstream: do, dLastState (each may be 0). dDecay and dInitialState are 0 if
 * not wanted. `shared` may be 0, and the phase is then HEADS. Units are heads; of ERRORS, SLOPES and KEYS also their
 * pieces, `valuePieces` or `keyPieces`; of PRODUCTS and FINISH also blocks of steps.
 */
// prettier-ignore
export function deltaRuleBackward(
  dq: usize, dk: usize, dv: usize, dBeta: usize, dDecay: usize, dInitialState: usize,
  dO: usize, dLastState: usize,
  q: usize, k: usize, v: usize, beta: usize, decay: usize, initialState: usize,
  seqLen: i32, nHeads: i32, dKey: i32, dValue: i32,
  l2Normalize: i32, scale: f32, eps: f32,
  shared: usize, keyPieces: i32, valuePieces: i32, phase: i32, scratch: usize, first: i32, count: i32,
): void {
  const c = changetype<BackwardCall>(scratch);
  c.dq = dq; c.dk = dk; c.dv = dv; c.dBeta = dBeta; c.dDecay = dDecay; c.dInitialState = dInitialState;
  c.dO = dO; c.dLastState = dLastState;
  c.q = q; c.k = k; c.v = v; c.beta = beta; c.decay = decay; c.initialState = initialState;
  c.seqLen = seqLen; c.nHeads = nHeads; c.dKey = dKey; c.dValue = dValue;
  c.l2Normalize = l2Normalize; c.scale = scale; c.eps = eps;
  c.keyRow = <usize>dKey << 2;
  c.valueRow = <usize>dValue << 2;
  c.wholeKeyBytes = <usize>padded(dKey) << 2;
  c.valueBytes = <usize>padded(dValue) << 2;
  c.keyStride = c.keyRow * nHeads;
  c.valueStride = c.valueRow * nHeads;
  c.stepStride = <usize>nHeads << 2;
  layOut(c, scratch, offsetof<BackwardCall>(), dKey, dValue);
  const own = <usize>scratchEnd();
  if (phase == HEADS) {
    for (let b = first / nHeads, h = first % nHeads; count > 0; b++, h = 0) {
      const heads = min(nHeads - h, count);
      wholeHeads(c, own, b, h, heads);
      count -= heads;
    }
    return;
  }
  const blocks = (seqLen + BLOCK - 1) / BLOCK;
  const partsOfHead = phase == ERRORS || phase == SLOPES ? valuePieces : phase == KEYS ? keyPieces + 1 : blocks;
  for (const end = first + count; first < end; first++) {
    const part = first % partsOfHead;
    openShared(c, shared, first / partsOfHead);
    if (phase == ERRORS) {
      openValues(c, part, valuePieces);
      errorsApart(c);
    } else if (phase == PRODUCTS) productsApart(c, part * BLOCK);
    else if (phase == SLOPES) {
      openValues(c, part, valuePieces);
      slopesApart(c);
    } else if (phase == KEYS) {
      if (part < keyPieces) {
        c.transposed = own;
        openKeys(c, part, keyPieces);
        keysApart(c);
      } else stepsApart(c);
    } else finishApart(c, part * BLOCK);
  }
}

/** All of some heads of an item of the batch, a block of steps for one head after the other. */
function wholeHeads(c: BackwardCall, memoryOfHeads: usize, item: i32, firstHead: i32, heads: i32): void {
  for (let i = 0; i < heads; i++) {
    openOwn(c, memoryOfHeads, item, firstHead, i);
    startErrors(c);
  }
  for (let t = 0, steps = 0; t < c.seqLen; t += steps) {
    steps = stepsFrom(c, t);
    openHead(c, item, firstHead);
    touchRows(c, t, steps, heads, 0, 0, 0);
    for (let i = 0; i < heads; i++) {
      openOwn(c, memoryOfHeads, item, firstHead, i);
      errorsOfBlock(c, t, steps);
      productsOfBlock(c, t, steps);
    }
  }
  for (let i = 0; i < heads; i++) {
    openOwn(c, memoryOfHeads, item, firstHead, i);
    startSlopes(c);
    store<f64>(c.decaySum, 0);
  }
  for (let end = c.seqLen, steps = 0; end > 0; end -= steps) {
    steps = stepsBefore(c, end);
    const t = end - steps;
    openHead(c, item, firstHead);
    touchRows(c, t, steps, heads, c.dv, 0, 0);
    for (let i = 0; i < heads; i++) {
      openOwn(c, memoryOfHeads, item, firstHead, i);
      slopesOfBlock(c, t, steps);
      stepGradients(c, t, steps);
    }
  }
  for (let i = 0; i < heads; i++) {
    openOwn(c, memoryOfHeads, item, firstHead, i);
    finishState(c);
    startReads(c);
  }
  for (let t = 0; t < c.seqLen; t += BLOCK) {
    const steps = min(c.seqLen - t, BLOCK);
    openHead(c, item, firstHead);
    touchRows(c, t, steps, heads, c.dv, c.dq, c.dk);
    for (let i = 0; i < heads; i++) {
      openOwn(c, memoryOfHeads, item, firstHead, i);
      readsOfBlock(c, t, steps);
      finishQueries(c, t, steps);
    }
  }
  for (let i = 0; i < heads; i++) {
    openOwn(c, memoryOfHeads, item, firstHead, i);
    startWrites(c);
  }
  for (let end = c.seqLen, steps = 0; end > 0; end -= steps) {
    steps = min(end, BLOCK);
    const t = end - steps;
    openHead(c, item, firstHead);
    touchRows(c, t, steps, heads, c.dv, c.dk, 0);
    for (let i = 0; i < heads; i++) {
      openOwn(c, memoryOfHeads, item, firstHead, i);
      writesOfBlock(c, t, steps);
      finishKeys(c, t, steps);
    }
  }
}

/** Turns to a head whose memory is the thread's. */
function openOwn(c: BackwardCall, memoryOfHeads: usize, item: i32, firstHead: i32, i: i32): void {
  openHead(c, item, firstHead + i);
  const bytes = <usize>layOutHead(c, memoryOfHeads, c.seqLen, c.dKey, c.dValue);
  if (i > 0) layOutHead(c, memoryOfHeads + <usize>i * bytes, c.seqLen, c.dKey, c.dValue);
}

/** Turns to a head, counted over the batch, whose memory threads share. */
function openShared(c: BackwardCall, shared: usize, index: i32): void {
  openHead(c, index / c.nHeads, index % c.nHeads);
  const bytes = <usize>layOutHead(c, shared, c.seqLen, c.dKey, c.dValue);
  const values = <usize>c.seqLen * c.valueBytes;
  const keys = <usize>c.seqLen * c.wholeKeyBytes;
  const at = shared + <usize>index * (bytes + values + 2 * keys);
  layOutHead(c, at, c.seqLen, c.dKey, c.dValue);
  c.lastGradient = c.transposed; // which each thread has its own of
  c.valueRows = at + bytes;
  c.queryRows = c.valueRows + values;
  c.keyRows = c.queryRows + keys;
}

// The phases, of a head whose memory threads share.

/** Takes the rows that are kept of a block's steps as the block's. */
function openValueRows(c: BackwardCall, t: i32): void {
  c.valueOut = c.valueRows + <usize>t * c.valueBytes;
}

function errorsApart(c: BackwardCall): void {
  startErrors(c);
  for (let t = 0, steps = 0; t < c.seqLen; t += steps) {
    steps = stepsFrom(c, t);
    openValueRows(c, t);
    errorsOfBlock(c, t, steps);
  }
}

function productsApart(c: BackwardCall, t: i32): void {
  openValueRows(c, t);
  productsOfBlock(c, t, min(c.seqLen - t, BLOCK));
}

function slopesApart(c: BackwardCall): void {
  startSlopes(c);
  for (let end = c.seqLen, steps = 0; end > 0; end -= steps) {
    steps = stepsBefore(c, end);
    openValueRows(c, end - steps);
    slopesOfBlock(c, end - steps, steps);
    if (end == c.seqLen && c.dDecay != 0) {
      const at = panelsAt(c);
      memory.copy(c.lastGradient + at, c.state + at, (<usize>c.key * c.value) << 2);
    }
  }
  finishState(c);
}

function stepsApart(c: BackwardCall): void {
  store<f64>(c.decaySum, 0);
  openValueRows(c, 0);
  stepGradients(c, 0, c.seqLen);
}

/** Copies rows of a piece of the key channels to those of all, from a step on. */
function keepRows(c: BackwardCall, rows: usize, t: i32, steps: i32): void {
  const row = (<usize>c.key) << 2;
  let to = rows + <usize>t * c.wholeKeyBytes + c.firstKey;
  for (let from = c.keyOut; steps > 0; steps--, to += c.wholeKeyBytes, from += row)
    memory.copy(to, from, row);
}

function keysApart(c: BackwardCall): void {
  startReads(c);
  for (let t = 0; t < c.seqLen; t += BLOCK) {
    const steps = min(c.seqLen - t, BLOCK);
    readsOfBlock(c, t, steps);
    keepRows(c, c.queryRows, t, steps);
  }
  startWrites(c);
  for (let end = c.seqLen, steps = 0; end > 0; end -= steps) {
    steps = min(end, BLOCK);
    writesOfBlock(c, end - steps, steps);
    keepRows(c, c.keyRows, end - steps, steps);
  }
}

function finishApart(c: BackwardCall, t: i32): void {
  const steps = min(c.seqLen - t, BLOCK);
  const at = <usize>t * c.wholeKeyBytes;
  c.keyOut = c.queryRows + at;
  finishQueries(c, t, steps);
  c.keyOut = c.keyRows + at;
  finishKeys(c, t, steps);
}
