/**
 * Gradients of the chunked form.
 *
 * Of each head: forward over the chunks, keeping the state at each chunk's start (h0), then backward, dh being the
 * gradient of the state at the chunk's end. With g = dy silu(z), X, S and s as in ssd.ts, and
 * M[i][j] = g[i].X[j], E[i][j] = exp(s[i] - s[j]):
 *
 *   dX = S^T g    + diag(exp(s_end - s)) B dh          dB = (E M)^T C + diag(exp(s_end - s)) X dh^T
 *   dC = (E M) B  + diag(exp(s)) g h0^T                dh <- exp(s_end) dh + sum_i exp(s[i]) C[i] g[i]^T
 *
 * E M is summed over the heads of a group before it meets B and C. The log decay of step t acts on every pair
 * j < t <= i: on those within the chunk, on what h0 gives to outputs from t on, on what inputs before t give to the
 * end, and on h0 in the end.
 *
 * A call is made of phases, each of units that do not depend on each other:
 *
 *   PACK    B and C of a group and chunk in panels, and C B^T, for all heads of the group
 *   HEADS   all gradients of a bundle of heads of a group, except those of B and C, for which it leaves sums
 *   GROUPS  dB and dC of a group and chunk, from the sums of its bundles
 *   SUMS    dA, dD and dDtBias of a head, from its sums of all items of the batch
 *
 * Where there are fewer bundles than threads to share them, memory is laid out for the states of all heads, and HEADS
 * becomes three phases, which do the same in the same order for each number:
 *
 *   STATES  h0 of all chunks of a head, or dh of all of them
 *   CHUNKS  the gradients of a chunk of a bundle
 *   STEPS   what follows the chunks of a bundle: its sums over them, and dt
 *
 * All except SUMS are repeated for so many items of the batch at a time as memory is laid out for.
 */
import { addRow } from '../matrix/rows';
import { scratchEnd } from '../matrix/scratch';
import { sum } from '../simd';
import { BackwardCall, layOut, layOutShared, lengthOf, openGroup } from './backward-call';
import { chunkGradients, gradientOfState, nextState, openGradient } from './backward-chunk';
import { groupGradients, packGroup } from './backward-groups';
import { groupOf, headSteps, setHeads, setSizes } from './call';
import { stepGradients } from './decay-gradients';
import { packState, unpackState } from './panels';

/** Where a call is laid out of which only the size is asked. */
const nowhere: usize = memory.data(offsetof<BackwardCall>());

const PACK: i32 = 0;
const HEADS: i32 = 1;
const GROUPS: i32 = 2;
const SUMS: i32 = 3;
const STATES: i32 = 4;
const CHUNKS: i32 = 5;
const STEPS: i32 = 6;

/** Bytes of scratch memory, with bundles of so many heads. */
// prettier-ignore
export function ssdChunkedBackwardScratchBytes(
  seqLen: i32, bundleHeads: i32, headDim: i32, dState: i32, chunkSize: i32,
): f64 {
  const c = changetype<BackwardCall>(nowhere);
  setSizes(c, seqLen, 1, headDim, 1, dState, chunkSize);
  layOut(c, 0, bundleHeads);
  return scratchEnd();
}

/**
 * Bytes of memory that the phases share: of all heads of the batch, of the groups that are computed at a time, and of
 * their bundles; and of the heads whose states are kept.
 */
// prettier-ignore
export function ssdChunkedBackwardSharedBytes(
  heads: i32, groups: i32, bundles: i32, keptHeads: i32, seqLen: i32, headDim: i32, dState: i32, chunkSize: i32,
): f64 {
  const c = changetype<BackwardCall>(nowhere);
  setSizes(c, seqLen, 1, headDim, 1, dState, chunkSize);
  return layOutShared(c, 0, heads, groups, bundles, keptHeads);
}

/**
 * One phase, for `items` items of the batch from `firstItem` on. dy and dLastState may be 0. Gradients of inputs that
 * are 0 are not written. Units are, in this order of counting, of PACK and GROUPS item, group and chunk; of HEADS and
 * STEPS item, group and bundle; of SUMS heads; of STATES item, head and which of the two; of CHUNKS item, group, bundle
 * and chunk. `keepsStates` says whether there is memory for the last three.
 */
// prettier-ignore
export function ssdChunkedBackward(
  dx: usize, ddt: usize, dA: usize, dB: usize, dC: usize, dD: usize, dz: usize, dDtBias: usize, dInitialState: usize,
  dy: usize, dLastState: usize,
  x: usize, dt: usize, A: usize, B: usize, C: usize, D: usize, z: usize, dtBias: usize, initialState: usize,
  batch: i32, seqLen: i32, nHeads: i32, headDim: i32, nGroups: i32, dState: i32, chunkSize: i32,
  skipByChannel: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32,
  shared: usize, items: i32, bundleHeads: i32, keepsStates: i32, firstItem: i32, phase: i32, scratch: usize, first: i32, count: i32,
): void {
  const c = changetype<BackwardCall>(scratch);
  setSizes(c, seqLen, nHeads, headDim, nGroups, dState, chunkSize);
  layOut(c, scratch, bundleHeads);
  c.bundleHeads = bundleHeads;
  c.bundles = (nHeads / nGroups + bundleHeads - 1) / bundleHeads;
  layOutShared(
    c, shared, batch * nHeads, items * nGroups, items * nGroups * c.bundles, keepsStates ? items * nHeads : 0,
  );
  c.dx = dx; c.ddt = ddt; c.dB = dB; c.dC = dC; c.dD = dD; c.dz = dz; c.dInitialState = dInitialState;
  c.dy = dy; c.dLastState = dLastState;
  c.x = x; c.dt = dt; c.A = A; c.B = B; c.C = C; c.D = D; c.z = z; c.dtBias = dtBias; c.initialState = initialState;
  c.skipByChannel = skipByChannel; c.dtSoftplus = dtSoftplus; c.dtMin = dtMin; c.dtMax = dtMax;
  c.firstItem = <usize>firstItem;
  for (const end = first + count; first < end; first++) {
    if (phase == HEADS) {
      openBundle(c, first);
      bundleGradients(c);
    } else if (phase == CHUNKS) {
      openBundle(c, first / c.chunks);
      bundleChunk(c, first % c.chunks);
    } else if (phase == STATES) {
      if (first % 2 == 0) headStates(c, first / 2);
      else headStateGradients(c, first / 2);
    } else if (phase == STEPS) {
      openBundle(c, first);
      for (let head = c.firstHead; head < c.firstHead + c.heads; head++) addChunks(c, head);
      finishBundle(c);
    } else if (phase == SUMS) headSums(c, dA, dD, dDtBias, batch, first);
    else {
      openGroup(c, first / c.chunks, 0);
      if (phase == PACK) packGroup(c, first % c.chunks);
      else groupGradients(c, first % c.chunks);
    }
  }
}

/** Turns to a bundle of heads, counted from the first item that is computed. */
function openBundle(c: BackwardCall, index: i32): void {
  const group = index / c.bundles;
  const bundle = index % c.bundles;
  const headsOfGroup = c.nHeads / c.nGroups;
  const within = bundle * c.bundleHeads;
  openGroup(c, group, bundle);
  setHeads(c, (group % c.nGroups) * headsOfGroup + within, min(c.bundleHeads, headsOfGroup - within));
}

/** Turns to a head of the item and group that are open. */
function openHead(c: BackwardCall, head: i32): void {
  c.head = head;
  c.headAt = c.sequence * c.xRow + <usize>head * c.headBytes;
  c.rate = load<f32>(c.A + <usize>head * 4);
}

/** All gradients of a bundle of heads, and its sums. */
function bundleGradients(c: BackwardCall): void {
  headSteps(c, c.steps, c.sequence, c.seqLen);
  memory.fill(c.T, 0, c.bytesOfPart);
  for (let head = c.firstHead; head < c.firstHead + c.heads; head++) headGradients(c, head);
  finishBundle(c);
}

/** ddt of a bundle, and the sums for dDtBias. */
// prettier-ignore
function finishBundle(c: BackwardCall): void {
  const at = c.sequence * c.headRow + <usize>c.firstHead * 4;
  stepGradients(
    c.ddt + at, c.stepSums + ((c.firstState + c.firstHead) << 3), c.dt + at,
    c.dtBias == 0 ? 0 : c.dtBias + <usize>c.firstHead * 4,
    c.seqLen, c.heads, c.headRow, c.dtSoftplus, c.dtMin, c.dtMax,
  );
}

/** All gradients of a head, except those of B and C within chunks, which are a group's. */
function headGradients(c: BackwardCall, head: i32): void {
  openHead(c, head);
  statesOfChunks(c);
  startSums(c);
  if (c.dLastState != 0) packState(c.dh, c.dLastState + stateAt(c), c.headDim, c.dState);
  for (let index = c.chunks - 1; index >= 0; index--) {
    addToSums(c, chunkGradients(c, index));
    if (index > 0 || c.dInitialState != 0) gradientOfState(c);
  }
  if (c.dInitialState != 0) unpackState(c.dInitialState + stateAt(c), c.dh, c.headDim, c.dState);
}

/** Bytes from the start of the initial states to that of the head. */
function stateAt(c: BackwardCall): usize {
  return (c.firstState + <usize>c.head) * c.stateBytes;
}

/** The states at the chunks' starts. */
function statesOfChunks(c: BackwardCall): void {
  if (c.initialState != 0) packState(c.h, c.initialState + stateAt(c), c.headDim, c.dState);
  else memory.fill(c.h, 0, c.packedBytes);
  for (let index = 0; index + 1 < c.chunks; index++) nextState(c, index);
}

function startSums(c: BackwardCall): void {
  const index = c.firstState + c.head;
  store<f64>(c.slopes + (index << 3), 0);
  memory.fill(c.skips + index * c.rowBytes, 0, c.rowBytes);
}

/** The head's sums for dA and dD: those of a chunk are added, the latter being in `skip`. */
function addToSums(c: BackwardCall, slope: f64): void {
  const index = c.firstState + c.head;
  const at = c.slopes + (index << 3);
  store<f64>(at, load<f64>(at) + slope);
  if (c.dD != 0) addRow(c.skips + index * c.rowBytes, c.skip, c.channels);
}

/** Turns to a head whose states are kept, counted from the first item that is computed. */
function openKept(c: BackwardCall, index: i32): void {
  const head = index % c.nHeads;
  const group = (index / c.nHeads) * c.nGroups + groupOf(c, head);
  openGroup(c, group, 0);
  setHeads(c, head, 1);
  openHead(c, head);
  headSteps(c, c.steps, c.sequence, c.seqLen);
}

function headStates(c: BackwardCall, index: i32): void {
  openKept(c, index);
  c.h = keptStates(c);
  statesOfChunks(c);
}

function headStateGradients(c: BackwardCall, index: i32): void {
  openKept(c, index);
  c.dh = keptGradients(c) + <usize>c.chunks * c.packedBytes;
  if (c.dLastState != 0) packState(c.dh, c.dLastState + stateAt(c), c.headDim, c.dState);
  for (let chunk = c.chunks - 1; chunk > 0 || (chunk == 0 && c.dInitialState != 0); chunk--) {
    openGradient(c, chunk);
    memory.copy(c.dh - c.packedBytes, c.dh, c.packedBytes);
    c.dh -= c.packedBytes;
    gradientOfState(c);
  }
  if (c.dInitialState != 0) unpackState(c.dInitialState + stateAt(c), c.dh, c.headDim, c.dState);
}

/** Which of the heads whose states are kept the open one is. */
function keptIndex(c: BackwardCall): usize {
  return c.firstState - c.firstItem * c.nHeads + c.head;
}

/** h0 of the head's chunks. */
function keptStates(c: BackwardCall): usize {
  return c.keptStates + keptIndex(c) * c.chunks * c.packedBytes;
}

/** The gradient of the head's initial state, and then dh of its chunks. */
function keptGradients(c: BackwardCall): usize {
  return c.keptGradients + keptIndex(c) * (c.chunks + 1) * c.packedBytes;
}

/** All gradients of a chunk of a bundle of heads, and their sums. */
function bundleChunk(c: BackwardCall, index: i32): void {
  const from = <usize>(index * c.chunk);
  headSteps(c, c.steps + from * c.stepRow, c.sequence + from, lengthOf(c, index));
  memory.fill(c.T + <usize>index * c.squareBytes, 0, c.squareBytes);
  memory.fill(c.dBs + <usize>index * c.groupBytes, 0, c.groupBytes);
  memory.fill(c.dCs + <usize>index * c.groupBytes, 0, c.groupBytes);
  for (let head = c.firstHead; head < c.firstHead + c.heads; head++) {
    openHead(c, head);
    c.h = keptStates(c);
    c.dh = keptGradients(c) + <usize>(index + 1) * c.packedBytes;
    const sums = keptIndex(c) * c.chunks + index;
    c.skip = c.keptSkips + sums * c.rowBytes;
    store<f64>(c.keptSlopes + (sums << 3), chunkGradients(c, index));
  }
}

/** The sums of a head, from those of its chunks. */
function addChunks(c: BackwardCall, head: i32): void {
  openHead(c, head);
  startSums(c);
  for (let index = c.chunks - 1; index >= 0; index--) {
    const sums = keptIndex(c) * c.chunks + index;
    c.skip = c.keptSkips + sums * c.rowBytes;
    addToSums(c, load<f64>(c.keptSlopes + (sums << 3)));
  }
}

/** dA, dD and dDtBias of a head: sums over the batch. */
function headSums(c: BackwardCall, dA: usize, dD: usize, dDtBias: usize, batch: i32, head: usize): void {
  let slope: f64 = 0;
  let steps: f64 = 0;
  memory.fill(c.skip, 0, c.rowBytes);
  for (let item: usize = 0; item < <usize>batch; item++) {
    const index = item * c.nHeads + head;
    slope += load<f64>(c.slopes + (index << 3));
    steps += load<f64>(c.stepSums + (index << 3));
    if (dD != 0) addRow(c.skip, c.skips + index * c.rowBytes, c.channels);
  }
  store<f32>(dA + (head << 2), <f32>slope);
  if (dDtBias != 0) store<f32>(dDtBias + (head << 2), <f32>steps);
  if (dD == 0) return;
  if (c.skipByChannel) {
    memory.copy(dD + head * c.headBytes, c.skip, c.headBytes);
    return;
  }
  let total = f32x4.splat(0);
  for (let p: usize = 0; p < c.rowBytes; p += 16) total = f32x4.add(total, v128.load(c.skip + p));
  store<f32>(dD + (head << 2), sum(total));
}
