/** The scan over sequences; see ../selective-scan. */
import {
  BLOCK,
  BLOCK_TILES,
  blocksOf,
  chunkSizeFor,
  expand,
  loadTile,
  RECORD,
  rowStride,
  sameRows,
  storeTile,
  tileBytes,
  VECTOR,
} from './layout';
import { finishSteps, prepareSteps } from './steps';
import { scanTile } from './tile';

/**
 * Longer chunks compute fewer states twice but take more memory: at [256, 16, 512] a backward pass took 2.67 times a
 * forward pass with 64, 2.56 times with 128.
 */
const FORWARD_CHUNK = 64;

export function selectiveScanForwardScratchBytes(seqLen: i32, dState: i32): f64 {
  const chunkSize = chunkSizeFor(seqLen, dState, FORWARD_CHUNK);
  return tileBytes(dState, chunkSize, 2 * chunkSize);
}

/**
 * h: initial states in, last states out. Units are blocks of BLOCK channels, of one sequence after the other; each reads
 * B and C anew.
 */
// prettier-ignore
export function selectiveScanForward(
  y: usize, h: usize,
  u: usize, delta: usize, A: usize, B: usize, C: usize, D: usize, z: usize, deltaBias: usize,
  seqLen: i32, dInner: i32, dState: i32, nGroupsB: i32, nGroupsC: i32, deltaSoftplus: bool,
  scratch: usize, first: i32, count: i32,
): void {
  const chunkSize = chunkSizeFor(seqLen, dState, FORWARD_CHUNK);
  const blocks = blocksOf(dInner);
  const stateBytes = <usize>(dInner * dState) << 2;
  const moved = <usize>(seqLen * dInner) << 2;
  const movedB = <usize>(seqLen * nGroupsB * dState) << 2;
  const movedC = <usize>(seqLen * nGroupsC * dState) << 2;
  while (count > 0) {
    const b = <usize>(first / blocks);
    const block = first % blocks;
    const here = min(count, blocks - block);
    scan(
      y + b * moved, h + b * stateBytes, 0, u + b * moved, delta + b * moved, A, B + b * movedB, C + b * movedC, D,
      z === 0 ? 0 : z + b * moved, deltaBias, seqLen, dInner, dState, nGroupsB, nGroupsC, deltaSoftplus,
      chunkSize, scratch, block * BLOCK, min(dInner, (block + here) * BLOCK),
    );
    first += here;
    count -= here;
  }
}

/**
 * Channels begin..end-1 of one sequence; begin is a multiple of BLOCK, and end one or dInner. y may be 0: then only
 * states are computed. checkpoints may be 0; else the states before each chunk go there, [number of chunks,
 * end - begin, dState].
 */
// prettier-ignore
export function scan(
  y: usize, h: usize, checkpoints: usize,
  u: usize, delta: usize, A: usize, B: usize, C: usize, D: usize, z: usize, deltaBias: usize,
  seqLen: i32, dInner: i32, dState: i32, nGroupsB: i32, nGroupsC: i32, deltaSoftplus: bool,
  chunkSize: i32, scratch: usize, begin: i32, end: i32,
): void {
  const tileSize = <usize>dState << 4;
  const rowBytes = <usize>dInner << 2;
  const rowB = <usize>(nGroupsB * dState) << 2;
  const rowC = <usize>(nGroupsC * dState) << 2;
  const stride = rowStride(dState);
  const strideB = nGroupsB === 0 ? 0 : stride;
  const strideC = nGroupsC === 0 ? 0 : stride;
  const ownStates = h + (<usize>(begin * dState) << 2);
  const ownStateBytes = <usize>((end - begin) * dState) << 2;

  const tileRecords = <usize>chunkSize * RECORD;
  const largest = scratch;
  const records = largest + BLOCK_TILES * VECTOR;
  const tileA = records + BLOCK_TILES * tileRecords;
  const tileH = tileA + tileSize;
  const tileDecays = tileH + tileSize;
  const waste = tileDecays; // free when tiles are written back
  const tileB = waste + tileSize;
  const tileC = tileB + <usize>chunkSize * stride;

  for (let from = 0; from < seqLen; from += chunkSize) {
    const rows = min(chunkSize, seqLen - from);
    if (checkpoints !== 0) {
      memory.copy(checkpoints, ownStates, ownStateBytes);
      checkpoints += ownStateBytes;
    }
    let firstB = -1;
    let firstC = -1;
    for (let block = begin; block < end; block += BLOCK) {
      const channels = min(BLOCK, end - block);
      const at = <usize>block << 2;
      prepareSteps(
        records, largest, u + at, delta + at, deltaBias === 0 ? 0 : deltaBias + at,
        rows, channels, rowBytes, tileRecords, deltaSoftplus,
      );
      let record = records;
      for (let c = 0; c < channels; c += 4) {
        const d = block + c;
        if (!sameRows(firstB, d, dInner, nGroupsB)) {
          expand(tileB, B, d, nGroupsB === 0 ? 1 : rows, dInner, dState, nGroupsB);
          firstB = d;
        }
        if (!sameRows(firstC, d, dInner, nGroupsC)) {
          expand(tileC, C, d, nGroupsC === 0 ? 1 : rows, dInner, dState, nGroupsC);
          firstC = d;
        }
        loadTile(tileA, A, d, dInner, dState);
        loadTile(tileH, h, d, dInner, dState);
        scanTile(
          record, tileH, tileDecays, v128.load(largest + (<usize>c << 2)), tileA, tileB, tileC,
          rows, dState, 0, strideB, strideC,
        );
        storeTile(h, tileH, d, dInner, dState, waste);
        record += tileRecords;
      }
      if (y !== 0) {
        finishSteps(
          y + at, records, u + at, D === 0 ? 0 : D + at, z === 0 ? 0 : z + at,
          rows, channels, rowBytes, tileRecords,
        );
      }
    }
    const moved = <usize>rows * rowBytes;
    u += moved; delta += moved;
    if (y !== 0) y += moved;
    if (z !== 0) z += moved;
    B += <usize>rows * rowB;
    C += <usize>rows * rowC;
  }
}
