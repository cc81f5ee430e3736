/**
 * Gradients of linear attention; see ../linear-attention.
 *
 * Each of the three passes moves a state over blocks of steps, reads it, and finishes what it read. Where there are
 * fewer heads than threads to share them, the call is made of phases instead, which do the same for each number:
 *
 *   READS           S, of a piece of the key channels of a head: what it gives to dq, and z
 *   FINISH_READS    dq and dgate of a block of steps, and what the rest needs of each step
 *   WRITES          dS, of a piece of the value columns: dv; or of the key channels: what it gives to dk
 *   FINISH_WRITES   dk, ddecay and dgate of a head
 *
 * Rows that a pass gives to the next phase, and what the heads have besides, then lie in memory that threads share.
 */
import { scratchEnd } from '../matrix/scratch';
import { padded, paddedBytes } from '../state/rows';
import { BLOCK } from '../state/tiles';
import {
  BackwardCall,
  layOut,
  layOutHead,
  layOutStates,
  packKeys,
  packNextForgets,
  packQueries,
  packScaledUpstream,
  packUpstream,
  packValues,
  touchRows,
} from './backward-call';
import { openHead, openKeys, openValues } from '../state/head-piece';
import {
  finishHead,
  finishReads,
  finishState,
  finishWrites,
  keyReads,
  packDStateT,
  packDz,
  readBlock,
  startReads,
  startSums,
  startWrites,
  stepsFrom,
  valueGradients,
} from './backward-passes';

const HEADS: i32 = 0;
const READS: i32 = 1;
const FINISH_READS: i32 = 2;
const WRITES: i32 = 3;

/** Where a call is laid out of which only the size is asked. */
const nowhere: usize = memory.data(offsetof<BackwardCall>());

/** Bytes of scratch memory for so many heads of an item of the batch at a time. */
export function linearAttentionBackwardScratchBytes(seqLen: i32, nHeads: i32, dKey: i32, dValue: i32): f64 {
  const c = changetype<BackwardCall>(nowhere);
  layOut(c, 0, offsetof<BackwardCall>(), dKey, dValue);
  return scratchEnd() + <f64>nHeads * layOutHead(c, 0, seqLen, dKey, dValue);
}

/** Bytes of memory that phases share, for so many heads of the batch. */
export function linearAttentionBackwardSharedBytes(heads: i32, seqLen: i32, dKey: i32, dValue: i32): f64 {
  const c = changetype<BackwardCall>(nowhere);
  return <f64>heads * (layOutHead(c, 0, seqLen, dKey, dValue) + 2 * <f64>seqLen * paddedBytes(dKey));
}

/**
 * Gradients of {@link linearAttentionForward}. Upstream: do, dLastState, dLastNormalizer (each may be 0). dDecay,
 * dGate, dInitialState, dInitialNormalizer are 0 if not wanted. `shared` may be 0, and the phase is then HEADS. Units are
 * heads; of READS and WRITES also their pieces, `keyPieces` and after them `valuePieces`; of FINISH_READS also blocks of
 * steps.
 */
// prettier-ignore
export function linearAttentionBackward(
  dq: usize, dk: usize, dv: usize, dDecay: usize, dGate: usize, dInitialState: usize, dInitialNormalizer: usize,
  dO: usize, dLastState: usize, dLastNormalizer: usize,
  q: usize, k: usize, v: usize, decay: usize, gate: usize, initialState: usize, initialNormalizer: usize,
  seqLen: i32, nHeads: i32, dKey: i32, dValue: i32,
  featureMap: i32, normalize: i32, decayPerStep: i32, scale: f32, eps: f32,
  shared: usize, keyPieces: i32, valuePieces: i32, phase: i32, scratch: usize, first: i32, count: i32,
): void {
  const c = changetype<BackwardCall>(scratch);
  c.dq = dq; c.dk = dk; c.dv = dv; c.dDecay = dDecay; c.dGate = dGate;
  c.dInitialState = dInitialState; c.dInitialNormalizer = dInitialNormalizer;
  c.dO = dO; c.dLastState = dLastState; c.dLastNormalizer = dLastNormalizer;
  c.q = q; c.k = k; c.v = v; c.decay = decay; c.gate = gate;
  c.initialState = initialState; c.initialNormalizer = initialNormalizer;
  c.seqLen = seqLen; c.nHeads = nHeads; c.dKey = dKey; c.dValue = dValue;
  c.featureMap = featureMap; c.normalize = normalize; c.decayPerStep = decayPerStep; c.scale = scale; c.eps = eps;
  c.hasLast = (decay != 0 || gate != 0) && (dLastState != 0 || dLastNormalizer != 0);
  c.keyRow = <usize>dKey << 2;
  c.valueRow = <usize>dValue << 2;
  c.keyStride = c.keyRow * nHeads;
  c.valueStride = c.valueRow * nHeads;
  c.decayStride = decayPerStep ? <usize>nHeads << 2 : 0;
  c.stateBytes = <usize>dKey * c.valueRow;
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
  const partsOfHead = phase == READS ? keyPieces : phase == FINISH_READS ? blocks : phase == WRITES ? keyPieces + valuePieces : 1;
  for (const end = first + count; first < end; first++) {
    const head = first / partsOfHead;
    const part = first % partsOfHead;
    openShared(c, shared, head);
    if (phase == READS) {
      openKeys(c, part, keyPieces);
      readPiece(c, own);
    } else if (phase == FINISH_READS) {
      finishReadsApart(c, part * BLOCK);
    } else if (phase == WRITES) {
      if (part < keyPieces) {
        openKeys(c, part, keyPieces);
        writeKeyPiece(c, own);
      } else {
        openValues(c, part - keyPieces, valuePieces);
        writeValuePiece(c, own);
      }
    } else finishWritesApart(c);
  }
}

/** All of some heads of an item of the batch, a block of steps for one head after the other. */
function wholeHeads(c: BackwardCall, memoryOfHeads: usize, item: i32, firstHead: i32, heads: i32): void {
  for (let i = 0; i < heads; i++) {
    openOwn(c, memoryOfHeads, item, firstHead, i);
    startReads(c);
    startWrites(c);
  }
  for (let t = 0, steps = 0; t < c.seqLen; t += steps) {
    steps = stepsFrom(c, t);
    openHead(c, item, firstHead);
    touchRows(c, t, steps, heads, c.dq, 0);
    for (let i = 0; i < heads; i++) {
      openOwn(c, memoryOfHeads, item, firstHead, i);
      packQueries(c, t, steps);
      readBlock(c, t, steps);
      finishReads(c, t, steps);
    }
  }
  for (let i = 0; i < heads; i++) {
    openOwn(c, memoryOfHeads, item, firstHead, i);
    startSums(c);
  }
  for (let end = c.seqLen, steps = 0; end > 0; end -= steps) {
    steps = min(end, BLOCK);
    const t = end - steps;
    openHead(c, item, firstHead);
    touchRows(c, t, steps, heads, c.dk, c.dv);
    for (let i = 0; i < heads; i++) {
      openOwn(c, memoryOfHeads, item, firstHead, i);
      packQueries(c, t, steps);
      packKeys(c, t, steps);
      packValues(c, t, steps);
      packScaledUpstream(c, t, steps);
      packNextForgets(c, t, steps);
      valueGradients(c, t, steps);
      keyReads(c, steps);
      finishWrites(c, t, steps);
    }
  }
  for (let i = 0; i < heads; i++) {
    openOwn(c, memoryOfHeads, item, firstHead, i);
    finishState(c);
    finishHead(c);
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
  const rowsBytes = (<usize>c.seqLen * c.key) << 2;
  const bytes = <usize>layOutHead(c, shared, c.seqLen, c.dKey, c.dValue);
  c.rows = shared + <usize>index * (bytes + 2 * rowsBytes);
  c.extraRows = c.rows + rowsBytes;
  layOutHead(c, c.extraRows + rowsBytes, c.seqLen, c.dKey, c.dValue);
}

/** Takes the thread's memory for the states of a piece. */
function openStates(c: BackwardCall, own: usize): void {
  const key = <f64>padded(c.dKey);
  layOutStates(c, own, key, key * <f64>padded(c.dValue));
}

/** Copies rows of a piece of the key channels to those of all, from a step on. */
function keepRows(c: BackwardCall, rows: usize, from: usize, t: i32, steps: i32): void {
  const whole = (<usize>padded(c.dKey)) << 2;
  const row = (<usize>c.key) << 2;
  let to = rows + <usize>t * whole + c.firstKey;
  for (; steps > 0; steps--, to += whole, from += row) memory.copy(to, from, row);
}

function readPiece(c: BackwardCall, own: usize): void {
  openStates(c, own);
  c.dz = <usize>scratchEnd();
  startReads(c);
  for (let t = 0, steps = 0; t < c.seqLen; t += steps) {
    steps = stepsFrom(c, t);
    readBlock(c, t, steps);
    keepRows(c, c.rows, c.keyOut, t, steps);
    if (c.normalize) keepRows(c, c.extraRows, c.keyExtra, t, steps);
  }
}

/** Takes the rows that were kept of a block's steps as the block's. */
function openRows(c: BackwardCall, t: i32): void {
  const at = (<usize>t * c.key) << 2;
  c.keyOut = c.rows + at;
  c.keyExtra = c.extraRows + at;
}

function finishReadsApart(c: BackwardCall, t: i32): void {
  const steps = min(c.seqLen - t, BLOCK);
  packQueries(c, t, steps);
  packKeys(c, t, steps);
  packValues(c, t, steps);
  packUpstream(c, t, steps);
  openRows(c, t);
  finishReads(c, t, steps);
}

function writeKeyPiece(c: BackwardCall, own: usize): void {
  openStates(c, own);
  packDStateT(c);
  for (let end = c.seqLen, steps = 0; end > 0; end -= steps) {
    steps = min(end, BLOCK);
    const t = end - steps;
    packQueries(c, t, steps);
    packValues(c, t, steps);
    packScaledUpstream(c, t, steps);
    packNextForgets(c, t, steps);
    keyReads(c, steps);
    keepRows(c, c.rows, c.keyOut, t, steps);
  }
}

function writeValuePiece(c: BackwardCall, own: usize): void {
  openStates(c, own);
  startWrites(c);
  for (let end = c.seqLen, steps = 0; end > 0; end -= steps) {
    steps = min(end, BLOCK);
    const t = end - steps;
    packQueries(c, t, steps);
    packKeys(c, t, steps);
    packScaledUpstream(c, t, steps);
    packNextForgets(c, t, steps);
    valueGradients(c, t, steps);
  }
  finishState(c);
}

function finishWritesApart(c: BackwardCall): void {
  packDz(c);
  startSums(c);
  for (let end = c.seqLen, steps = 0; end > 0; end -= steps) {
    steps = min(end, BLOCK);
    const t = end - steps;
    packQueries(c, t, steps);
    packKeys(c, t, steps);
    packNextForgets(c, t, steps);
    openRows(c, t);
    finishWrites(c, t, steps);
  }
  finishHead(c);
}
