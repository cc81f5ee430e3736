/** Gradients of the scan; see ../selective-scan. */
import { scan } from './forward';
import {
  BLOCK,
  BLOCK_TILES,
  chunkSizeFor,
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
 * Gradients of y and of the last state. No state is kept but one a chunk (checkpoints, of one sequence: [number of
 * chunks, dInner, dState]); chunks are taken from the last to the first, and the states of one tile in one
 * chunk are computed again.
 *
 * dh: gradient of the last states in, of the initial states out. dA, dB, dC, dD, dDeltaBias hold zeros at first.
 * dy and initialState may be 0, and so may D, z and deltaBias with their gradients.
 */
// prettier-ignore
export function selectiveScanBackward(
  du: usize, ddelta: usize, dA: usize, dB: usize, dC: usize, dD: usize, dz: usize, dDeltaBias: usize, dh: usize,
  dy: usize,
  u: usize, delta: usize, A: usize, B: usize, C: usize, D: usize, z: usize, deltaBias: usize, initialState: usize,
  scratch: usize,
  batch: i32, seqLen: i32, dInner: i32, dState: i32, nGroupsB: i32, nGroupsC: i32, deltaSoftplus: bool,
): void {
  const chunkSize = chunkSizeFor(seqLen, dState, BACKWARD_CHUNK);
  const checkpoints = scratch + <usize>backwardTileBytes(dState, chunkSize);
  const tileSize = <usize>dState << 4;
  const rowBytes = <usize>dInner << 2;
  const stateBytes = rowBytes * <usize>dState;
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

  for (let b = 0; b < batch; b++) {
    const lastCheckpoint = checkpoints + <usize>(chunks - 1) * stateBytes;
    if (initialState === 0) memory.fill(lastCheckpoint, 0, stateBytes);
    else memory.copy(lastCheckpoint, initialState + <usize>b * stateBytes, stateBytes);
    scan(
      0, lastCheckpoint, checkpoints, u, delta, A, B, C, 0, 0, deltaBias,
      (chunks - 1) * chunkSize, dInner, dState, nGroupsB, nGroupsC, deltaSoftplus, chunkSize, scratch, 0, dInner,
    );
    for (let chunk = chunks - 1; chunk >= 0; chunk--) {
      const from = chunk * chunkSize;
      const rows = min(chunkSize, seqLen - from);
      const rowsB = nGroupsB === 0 ? 1 : rows;
      const rowsC = nGroupsC === 0 ? 1 : rows;
      const checkpoint = checkpoints + <usize>chunk * stateBytes;
      const chunkB = <usize>from * rowB;
      const chunkC = <usize>from * rowC;
      let firstB = -1;
      let firstC = -1;
      for (let block = 0; block < dInner; block += BLOCK) {
        const channels = min(BLOCK, dInner - block);
        const at = <usize>block << 2;
        const i = <usize>from * rowBytes + at;
        const biases = deltaBias === 0 ? 0 : deltaBias + at;
        prepareSteps(
          records, largest, u + i, delta + i, biases, rows, channels, rowBytes, tileRecords, deltaSoftplus,
        );
        prepareGates(
          records, dy === 0 ? 0 : dy + i, z === 0 ? 0 : z + i, rows, channels, rowBytes, tileRecords,
        );
        let record = records;
        for (let c = 0; c < channels; c += 4) {
          const d = block + c;
          if (!sameRows(firstB, d, dInner, nGroupsB)) {
            if (firstB >= 0) collapse(dB + chunkB, tileDB, firstB, rowsB, dInner, dState, nGroupsB);
            expand(tileB, B + chunkB, d, rowsB, dInner, dState, nGroupsB);
            memory.fill(tileDB, 0, <usize>rowsB * stride);
            firstB = d;
          }
          if (!sameRows(firstC, d, dInner, nGroupsC)) {
            if (firstC >= 0) collapse(dC + chunkC, tileDC, firstC, rowsC, dInner, dState, nGroupsC);
            expand(tileC, C + chunkC, d, rowsC, dInner, dState, nGroupsC);
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
          records, rows, channels, rowBytes, tileRecords, deltaSoftplus,
        );
      }
      collapse(dB + chunkB, tileDB, firstB, rowsB, dInner, dState, nGroupsB);
      collapse(dC + chunkC, tileDC, firstC, rowsC, dInner, dState, nGroupsC);
    }
    const moved = <usize>seqLen * rowBytes;
    du += moved; ddelta += moved; u += moved; delta += moved;
    if (dy !== 0) dy += moved;
    if (z !== 0) { z += moved; dz += moved; }
    B += <usize>seqLen * rowB; dB += <usize>seqLen * rowB;
    C += <usize>seqLen * rowC; dC += <usize>seqLen * rowC;
    dh += stateBytes;
  }
}
