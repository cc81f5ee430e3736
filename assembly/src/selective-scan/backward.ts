/** Gradients of the scan; see ../selective-scan. */
import { scan } from './forward';
import {
  BLOCK,
  BLOCK_TILES,
  chunkSizeFor,
  clearRows,
  collapse,
  expand,
  loadTile,
  RECORD,
  rowStride,
  sameRows,
  storeTile,
  tileBytes,
  VECTOR,
} from './layout';
import { finishGradients, prepareGates, prepareSteps } from './steps';
import { reverseTile, scanTile } from './tile';

const BACKWARD_CHUNK = 128;

function backwardTileBytes(dState: i32, chunkSize: i32): f64 {
  return tileBytes(dState, chunkSize, 6 * chunkSize + 1);
}

export function selectiveScanBackwardScratchBytes(seqLen: i32, dInner: i32, dState: i32): f64 {
  const chunkSize = chunkSizeFor(seqLen, dState, BACKWARD_CHUNK);
  const chunks = (seqLen - 1) / chunkSize + 1;
  return backwardTileBytes(dState, chunkSize) + 4 * <f64>chunks * <f64>dInner * <f64>dState;
}

/**
 * Gradients of y and of the last state. A unit is so many sequences and so many channels of them; units are numbered
 * along the channels first. What is a sum over sequences or over channels comes in parts, one for each unit that has a
 * part in it, for the caller to add up:
 *
 *   dA, dD, dDeltaBias, dB and dC where constant   [parts of the batch, ...], as the unit's channels
 *   dB, dC where nGroups is 1                      [parts of the channels, batch, seqLen, dState]
 *
 * channels is a multiple of BLOCK and, where nGroups is more than 1, of the channels that share a row of B or C: then a
 * row is the work of one unit.
 *
 * dh: gradient of the last states in, of the initial states out. dy and initialState may be 0, and so may D, z and
 * deltaBias with their gradients.
 */
// prettier-ignore
export function selectiveScanBackward(
  du: usize, ddelta: usize, dA: usize, dB: usize, dC: usize, dD: usize, dz: usize, dDeltaBias: usize, dh: usize,
  dy: usize,
  u: usize, delta: usize, A: usize, B: usize, C: usize, D: usize, z: usize, deltaBias: usize, initialState: usize,
  batch: i32, seqLen: i32, dInner: i32, dState: i32, nGroupsB: i32, nGroupsC: i32, deltaSoftplus: bool,
  sequences: i32, channels: i32, scratch: usize, first: i32, count: i32,
): void {
  const rowBytes = <usize>dInner << 2;
  const stateBytes = rowBytes * <usize>dState;
  const moved = <usize>seqLen * rowBytes;
  const movedB = <usize>(seqLen * nGroupsB * dState) << 2;
  const movedC = <usize>(seqLen * nGroupsC * dState) << 2;
  const groups = (dInner + channels - 1) / channels;
  const partB = nGroupsB === 1 ? <usize>batch * movedB : 0; // from the part of a group of channels to the next
  const partC = nGroupsC === 1 ? <usize>batch * movedC : 0;
  while (count > 0) {
    const part = first / groups;
    const group = first % groups;
    const taken = min(count, groups - group);
    const begin = group * channels;
    const end = min(dInner, begin + taken * channels);
    const at = <usize>begin << 2;
    const own = <usize>(end - begin) << 2;
    const partRow = <usize>part * rowBytes;
    const partStates = <usize>part * stateBytes;
    const constantB = nGroupsB === 0 ? partStates : 0;
    const constantC = nGroupsC === 0 ? partStates : 0;
    memory.fill(dA + partStates + at * <usize>dState, 0, own * <usize>dState);
    if (D !== 0) memory.fill(dD + partRow + at, 0, own);
    if (deltaBias !== 0) memory.fill(dDeltaBias + partRow + at, 0, own);
    if (nGroupsB === 0) clearRows(dB + constantB, 1, begin, end, dInner, dState, 0);
    if (nGroupsC === 0) clearRows(dC + constantC, 1, begin, end, dInner, dState, 0);
    const last = min(batch, (part + 1) * sequences);
    for (let b = <usize>(part * sequences); b < <usize>last; b++) {
      const i = b * moved;
      const ofB = b * movedB;
      const ofC = b * movedC;
      for (let g = group; g < group + taken; g++) {
        const from = g * channels;
        const to = min(end, from + channels);
        if (nGroupsB !== 0) clearRows(dB + <usize>g * partB + ofB, seqLen, from, to, dInner, dState, nGroupsB);
        if (nGroupsC !== 0) clearRows(dC + <usize>g * partC + ofC, seqLen, from, to, dInner, dState, nGroupsC);
      }
      backward(
        du + i, ddelta + i, dA + partStates, dB + constantB + ofB, dC + constantC + ofC, D === 0 ? 0 : dD + partRow,
        z === 0 ? 0 : dz + i, deltaBias === 0 ? 0 : dDeltaBias + partRow, dh + b * stateBytes,
        dy === 0 ? 0 : dy + i, u + i, delta + i, A, B + ofB, C + ofC, D, z === 0 ? 0 : z + i, deltaBias,
        initialState === 0 ? 0 : initialState + b * stateBytes,
        seqLen, dInner, dState, nGroupsB, nGroupsC, deltaSoftplus, channels, partB, partC, scratch, begin, end,
      );
    }
    first += taken;
    count -= taken;
  }
}

/**
 * Channels begin..end-1 of one sequence. No state is kept but one per chunk (checkpoints, [number of chunks,
 * end - begin, dState]); chunks are taken from the last to the first, and the states of one tile in one chunk are
 * computed again. dA, dB, dC, dD and dDeltaBias are added to; dB and dC of each `channels` channels lie partB and partC
 * bytes further on. All groups go through a chunk together: with one group at a time, the lines of u, delta, dy and z
 * come from further away (1.16 times the time at [256, 16, 512] with groups of 64).
 */
// prettier-ignore
function backward(
  du: usize, ddelta: usize, dA: usize, dB: usize, dC: usize, dD: usize, dz: usize, dDeltaBias: usize, dh: usize,
  dy: usize,
  u: usize, delta: usize, A: usize, B: usize, C: usize, D: usize, z: usize, deltaBias: usize, initialState: usize,
  seqLen: i32, dInner: i32, dState: i32, nGroupsB: i32, nGroupsC: i32, deltaSoftplus: bool,
  channels: i32, partB: usize, partC: usize, scratch: usize, begin: i32, end: i32,
): void {
  const chunkSize = chunkSizeFor(seqLen, dState, BACKWARD_CHUNK);
  const tileSize = <usize>dState << 4;
  const rowBytes = <usize>dInner << 2;
  const ownStateBytes = <usize>((end - begin) * dState) << 2;
  const beforeOwn = <usize>(begin * dState) << 2;
  const rowB = <usize>(nGroupsB * dState) << 2;
  const rowC = <usize>(nGroupsC * dState) << 2;
  const stride = rowStride(dState);
  const strideB = nGroupsB === 0 ? 0 : stride;
  const strideC = nGroupsC === 0 ? 0 : stride;
  const chunks = (seqLen + chunkSize - 1) / chunkSize;

  const tileRecords = <usize>chunkSize * RECORD;
  const largest = scratch;
  const records = largest + BLOCK_TILES * VECTOR;
  const tileA = records + BLOCK_TILES * tileRecords;
  const tileDA = tileA + tileSize;
  const tileDh = tileDA + tileSize;
  const decays = tileDh + tileSize;
  const states = decays + <usize>chunkSize * stride;
  const tileB = states + <usize>(chunkSize + 1) * stride;
  const tileC = tileB + <usize>chunkSize * stride;
  const tileDB = tileC + <usize>chunkSize * stride;
  const tileDC = tileDB + <usize>chunkSize * stride;
  const waste = decays; // free when tiles are written back
  const checkpoints = scratch + <usize>backwardTileBytes(dState, chunkSize);
  const lastCheckpoint = checkpoints + <usize>(chunks - 1) * ownStateBytes;

  if (initialState === 0) memory.fill(lastCheckpoint, 0, ownStateBytes);
  else memory.copy(lastCheckpoint, initialState + beforeOwn, ownStateBytes);
  // Checkpoints hold the own channels alone: their address is that which channel 0 would have.
  scan(
    0, lastCheckpoint - beforeOwn, checkpoints, u, delta, A, B, C, 0, 0, deltaBias,
    (chunks - 1) * chunkSize, dInner, dState, nGroupsB, nGroupsC, deltaSoftplus, chunkSize, scratch, begin, end,
  );
  for (let chunk = chunks - 1; chunk >= 0; chunk--) {
    const from = chunk * chunkSize;
    const rows = min(chunkSize, seqLen - from);
    const rowsB = nGroupsB === 0 ? 1 : rows;
    const rowsC = nGroupsC === 0 ? 1 : rows;
    const checkpoint = checkpoints + <usize>chunk * ownStateBytes - beforeOwn;
    const chunkB = <usize>from * rowB;
    const chunkC = <usize>from * rowC;
    let firstB = -1;
    let firstC = -1;
    for (let block = begin; block < end; block += BLOCK) {
      const lanes = min(BLOCK, end - block);
      const at = <usize>block << 2;
      const i = <usize>from * rowBytes + at;
      const biases = deltaBias === 0 ? 0 : deltaBias + at;
      prepareSteps(
        records, largest, u + i, delta + i, biases, rows, lanes, rowBytes, tileRecords, deltaSoftplus,
      );
      prepareGates(
        records, dy === 0 ? 0 : dy + i, z === 0 ? 0 : z + i, rows, lanes, rowBytes, tileRecords,
      );
      let record = records;
      for (let c = 0; c < lanes; c += 4) {
        const d = block + c;
        const sameB = sameRows(firstB, d, dInner, nGroupsB);
        if (!sameB || d % channels === 0) {
          if (firstB >= 0) {
            const target = dB + chunkB + <usize>(firstB / channels) * partB;
            collapse(target, tileDB, firstB, rowsB, dInner, dState, nGroupsB);
          }
          if (!sameB) expand(tileB, B + chunkB, d, rowsB, dInner, dState, nGroupsB);
          memory.fill(tileDB, 0, <usize>rowsB * stride);
          firstB = d;
        }
        const sameC = sameRows(firstC, d, dInner, nGroupsC);
        if (!sameC || d % channels === 0) {
          if (firstC >= 0) {
            const target = dC + chunkC + <usize>(firstC / channels) * partC;
            collapse(target, tileDC, firstC, rowsC, dInner, dState, nGroupsC);
          }
          if (!sameC) expand(tileC, C + chunkC, d, rowsC, dInner, dState, nGroupsC);
          memory.fill(tileDC, 0, <usize>rowsC * stride);
          firstC = d;
        }
        loadTile(tileA, A, d, dInner, dState);
        loadTile(tileDA, dA, d, dInner, dState);
        loadTile(tileDh, dh, d, dInner, dState);
        loadTile(states, checkpoint, d, dInner, dState);
        scanTile(
          record, states, decays, v128.load(largest + (<usize>c << 2)), tileA, tileB, tileC,
          rows, dState, stride, strideB, strideC,
        );
        reverseTile(
          record, tileDA, tileDB, tileDC, tileDh, decays, states, tileA, tileB, tileC,
          rows, dState, strideB, strideC,
        );
        storeTile(dA, tileDA, d, dInner, dState, waste);
        storeTile(dh, tileDh, d, dInner, dState, waste);
        record += tileRecords;
      }
      finishGradients(
        du + i, ddelta + i, dD === 0 ? 0 : dD + at, dz === 0 ? 0 : dz + i, dDeltaBias === 0 ? 0 : dDeltaBias + at,
        dy === 0 ? 0 : dy + i, u + i, delta + i, D === 0 ? 0 : D + at, z === 0 ? 0 : z + i, biases,
        records, rows, lanes, rowBytes, tileRecords, deltaSoftplus,
      );
    }
    const lastB = dB + chunkB + <usize>(firstB / channels) * partB;
    collapse(lastB, tileDB, firstB, rowsB, dInner, dState, nGroupsB);
    const lastC = dC + chunkC + <usize>(firstC / channels) * partC;
    collapse(lastC, tileDC, firstC, rowsC, dInner, dState, nGroupsC);
  }
}
