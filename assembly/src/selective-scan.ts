/**
 * Selective scan of Mamba (Gu & Dao 2023, Algorithm 2, arXiv:2312.00752).
 *
 *   h[t] = exp(delta[t] A) h[t-1] + delta[t] u[t] B[t]
 *   y[t] = (C[t] . h[t] + D u[t]) silu(z[t])
 *
 * where delta is first softplus(delta + deltaBias) if so asked.
 *
 *   y, u, delta, z  [batch, seqLen, dInner]      A, h          [dInner, dState]
 *   D, deltaBias    [dInner]                     states        [batch, dInner, dState]
 *   B, C            [batch, seqLen, nGroups, dState], or [dInner, dState] where nGroups is given as 0
 *
 * Lanes run along four channels, a tile; so y needs no horizontal sum, and any dState will do. A tile runs through a
 * chunk of time steps with its h and A in the first cache, as [dState][4]; B and C of the chunk are laid out as
 * [t][dState][4], once for all tiles that share them. What one tile needs at each step (delta and delta u, then y) is
 * made ready before, so that the loop over states holds little else than the exponential. NaN in u or delta reaches y;
 * NaN in A does if its low nine bits are zero, as in all that arithmetic makes.
 *
 * The caller guarantees the shapes, that nGroups divides dInner, and the scratch memory.
 */
import {
  exp2,
  exp2Constants,
  loadTail,
  madd,
  sigmoid,
  silu,
  siluSlope,
  softplus,
  storeTail,
  sum,
} from './simd';

const VECTOR: usize = 16; // bytes of four lanes
const BLOCK = 16; // channels in a cache line
const BLOCK_TILES: usize = 4;

/** What a tile keeps of a time step, a record: seven vectors, at these places. */
const STEP: usize = 0; // delta as it acts
const EXPONENT: usize = 16; // log2(e) delta
const INPUT: usize = 32; // delta u
const SUM: usize = 48; // C . h
const GATE: usize = 64; // gradient of C . h
const FROM_INPUT: usize = 80; // dh . B
const FROM_DECAY: usize = 96; // (decay dh h[t-1]) . A
const RECORD: usize = 112;

const LOG2E: usize = memory.data<f32>([1.44269504, 1.44269504, 1.44269504, 1.44269504], 16);
const LIMIT: usize = memory.data<f32>([126, 126, 126, 126], 16);

/** Makes target[n] = (r0[n], r1[n], r2[n], r3[n]). */
// prettier-ignore
function interleave(target: usize, r0: usize, r1: usize, r2: usize, r3: usize, count: i32): void {
  const end = target + (<usize>count << 4);
  for (; target + 64 <= end; target += 64) {
    const a = v128.load(r0);
    const b = v128.load(r1);
    const c = v128.load(r2);
    const d = v128.load(r3);
    const ab = i8x16.shuffle(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const cd = i8x16.shuffle(c, d, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const ef = i8x16.shuffle(a, b, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    const gh = i8x16.shuffle(c, d, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    v128.store(target, i8x16.shuffle(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
    v128.store(target, i8x16.shuffle(ab, cd, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31), 16);
    v128.store(target, i8x16.shuffle(ef, gh, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23), 32);
    v128.store(target, i8x16.shuffle(ef, gh, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31), 48);
    r0 += 16; r1 += 16; r2 += 16; r3 += 16;
  }
  for (; target < end; target += 16) {
    store<f32>(target, load<f32>(r0));
    store<f32>(target, load<f32>(r1), 4);
    store<f32>(target, load<f32>(r2), 8);
    store<f32>(target, load<f32>(r3), 12);
    r0 += 4; r1 += 4; r2 += 4; r3 += 4;
  }
}

/** The reverse: r0[n], r1[n], r2[n], r3[n] = lanes of source[n]. */
// prettier-ignore
function separate(r0: usize, r1: usize, r2: usize, r3: usize, source: usize, count: i32): void {
  const end = source + (<usize>count << 4);
  for (; source < end; source += 16) {
    store<f32>(r0, load<f32>(source));
    store<f32>(r1, load<f32>(source, 4));
    store<f32>(r2, load<f32>(source, 8));
    store<f32>(r3, load<f32>(source, 12));
    r0 += 4; r1 += 4; r2 += 4; r3 += 4;
  }
}

/** A tile of a [dInner, dState] array from row `first` on, as [dState][4]. Lanes beyond dInner repeat the last row. */
function loadTile(target: usize, source: usize, first: i32, dInner: i32, dState: i32): void {
  const row = (<usize>dState) << 2;
  const last = dInner - 1;
  interleave(
    target,
    source + <usize>first * row,
    source + <usize>min(first + 1, last) * row,
    source + <usize>min(first + 2, last) * row,
    source + <usize>min(first + 3, last) * row,
    dState,
  );
}

/** Writes a tile back. Lanes beyond dInner go to `waste`, dState floats. */
function storeTile(target: usize, source: usize, first: i32, dInner: i32, dState: i32, waste: usize): void {
  const row = (<usize>dState) << 2;
  const r0 = target + <usize>first * row;
  separate(
    r0,
    first + 1 < dInner ? r0 + row : waste,
    first + 2 < dInner ? r0 + 2 * row : waste,
    first + 3 < dInner ? r0 + 3 * row : waste,
    source,
    dState,
  );
}

/**
 * Bytes from one time step to the next in arrays [t][dState][4]: an odd number of cache lines. reverseTile walks along
 * t, and rows a power of two apart would share a few lines of the first cache (dState 64: 1.36 times as long).
 */
function rowStride(dState: i32): usize {
  return ((<usize>((dState + 3) >> 2)) | 1) << 6;
}

/** The row of B or C that a lane reads: its number among the nGroups rows of a step, or the channel. */
function rowOf(channel: i32, dInner: i32, nGroups: i32): i32 {
  if (nGroups === 1) return 0; // saves two divisions
  return nGroups === 0 ? channel : channel / (dInner / nGroups);
}

/** Whether the tile at channel d reads the same rows of B or C as the tile at `first` (-1: none) did. */
function sameRows(first: i32, d: i32, dInner: i32, nGroups: i32): bool {
  if (first < 0 || nGroups === 0) return false;
  const row = rowOf(first, dInner, nGroups);
  return row === rowOf(min(d + 3, dInner - 1), dInner, nGroups);
}

/**
 * B or C for four channels from `first` on, as [rows][dState][4], rowStride apart.
 */
// prettier-ignore
function expand(
  target: usize, source: usize, first: i32, rows: i32, dInner: i32, dState: i32, nGroups: i32,
): void {
  const row = <usize>dState << 2;
  const last = dInner - 1;
  let r0 = source + <usize>rowOf(first, dInner, nGroups) * row;
  let r1 = source + <usize>rowOf(min(first + 1, last), dInner, nGroups) * row;
  let r2 = source + <usize>rowOf(min(first + 2, last), dInner, nGroups) * row;
  let r3 = source + <usize>rowOf(min(first + 3, last), dInner, nGroups) * row;
  const step = <usize>nGroups * row;
  for (let t = 0; t < rows; t++) {
    interleave(target, r0, r1, r2, r3, dState);
    target += rowStride(dState);
    r0 += step; r1 += step; r2 += step; r3 += step;
  }
}

/**
 * Makes ready the records of up to 16 channels, a cache line of u and delta: with one tile at a time, lines of rows
 * that lie a power of two apart push each other out before the next tile comes (1.08 times the time at
 * [1536, 16, 1024]).
 * Also largest[tile] = the largest |exponent| of each lane; a NaN may be missing there, it is in the inputs.
 */
// prettier-ignore
function prepareSteps(
  records: usize, largest: usize,
  u: usize, delta: usize, deltaBias: usize,
  rows: i32, channels: i32, rowBytes: usize, tileRecords: usize, deltaSoftplus: bool,
): void {
  for (let tile: usize = 0; tile < BLOCK_TILES; tile++) v128.store(largest + (tile << 4), f32x4.splat(0));
  for (let t = 0; t < rows; t++) {
    let record = records;
    for (let c = 0; c < channels; c += 4) {
      const at = <usize>c << 2;
      const lanes = channels - c;
      let step = loadTail(delta + at, lanes);
      if (deltaBias !== 0) step = f32x4.add(step, loadTail(deltaBias + at, lanes));
      if (deltaSoftplus) step = softplus(step);
      const exponent = f32x4.mul(step, v128.load(LOG2E));
      v128.store(record, step, STEP);
      v128.store(record, exponent, EXPONENT);
      v128.store(record, f32x4.mul(step, loadTail(u + at, lanes)), INPUT);
      v128.store(largest + at, f32x4.pmax(v128.load(largest + at), f32x4.abs(exponent)));
      record += tileRecords;
    }
    u += rowBytes; delta += rowBytes; records += RECORD;
  }
}

/** y = (sum + D u) silu(z). */
// prettier-ignore
function finishSteps(
  y: usize, records: usize, u: usize, D: usize, z: usize,
  rows: i32, channels: i32, rowBytes: usize, tileRecords: usize,
): void {
  for (let t = 0; t < rows; t++) {
    let record = records;
    for (let c = 0; c < channels; c += 4) {
      const at = <usize>c << 2;
      const lanes = channels - c;
      let out = v128.load(record, SUM);
      if (D !== 0) out = madd(loadTail(D + at, lanes), loadTail(u + at, lanes), out);
      if (z !== 0) out = f32x4.mul(out, silu(loadTail(z + at, lanes)));
      storeTail(y + at, out, lanes);
      record += tileRecords;
    }
    y += rowBytes; u += rowBytes; records += RECORD;
    if (z !== 0) z += rowBytes;
  }
}

/** Whether all exponents of a tile are at most 126 in absolute value. */
function bounded(largest: v128, A: usize, dState: i32): bool {
  const limit = v128.load(LIMIT);
  let good = f32x4.eq(limit, limit);
  const end = A + ((<usize>dState) << 4);
  for (; A < end; A += VECTOR) {
    good = v128.and(good, f32x4.le(f32x4.mul(largest, f32x4.abs(v128.load(A))), limit));
  }
  return i32x4.all_true(good);
}

/** The recurrence on one tile, with the least work that its exponents allow. */
// prettier-ignore
function scanTile(
  records: usize, h: usize, decays: usize, largest: v128, A: usize, B: usize, C: usize,
  rows: i32, dState: i32, strideH: usize, strideB: usize, strideC: usize,
): void {
  if (bounded(largest, A, dState)) {
    scanTileBounded(records, h, decays, A, B, C, rows, dState, strideH, strideB, strideC);
  } else {
    scanTileAny(records, h, decays, A, B, C, rows, dState, strideH, strideB, strideC);
  }
}

/**
 * The recurrence on one tile, where all |exponent A| <= 126. The state after a step and the decays of the step go to
 * h and decays, strideH further on at each step: 0 where only the last state is wanted.
 */
// prettier-ignore
function scanTileBounded(
  records: usize, h: usize, decays: usize, A: usize, B: usize, C: usize,
  rows: i32, dState: i32, strideH: usize, strideB: usize, strideC: usize,
): void {
  const magic = v128.load(exp2Constants);
  const c5 = v128.load(exp2Constants, 16);
  const c4 = v128.load(exp2Constants, 32);
  const c3 = v128.load(exp2Constants, 48);
  const c2 = v128.load(exp2Constants, 64);
  const c1 = v128.load(exp2Constants, 80);
  const one = v128.load(exp2Constants, 96);
  const bytes = <usize>dState << 4;
  for (let t = 0; t < rows; t++) {
    const e = v128.load(records, EXPONENT);
    const input = v128.load(records, INPUT);
    const next = h + strideH;
    let acc = f32x4.splat(0);
    for (let n: usize = 0; n < bytes; n += VECTOR) {
      const a = exp2(f32x4.mul(e, v128.load(A + n)), magic, c5, c4, c3, c2, c1, one);
      const state = madd(a, v128.load(h + n), f32x4.mul(input, v128.load(B + n)));
      v128.store(decays + n, a);
      v128.store(next + n, state);
      acc = madd(v128.load(C + n), state, acc);
    }
    v128.store(records, acc, SUM);
    B += strideB; C += strideC;
    h = next; decays += strideH; records += RECORD;
  }
}

/** As scanTileBounded, with any exponents: decays may come out as 0 or inf (0.89 ns for 0.75 at [256, 16, 512]). */
// prettier-ignore
function scanTileAny(
  records: usize, h: usize, decays: usize, A: usize, B: usize, C: usize,
  rows: i32, dState: i32, strideH: usize, strideB: usize, strideC: usize,
): void {
  const lowest = v128.load(exp2Constants, 112);
  const highest = v128.load(exp2Constants, 128);
  const bytes = <usize>dState << 4;
  for (let t = 0; t < rows; t++) {
    const e = v128.load(records, EXPONENT);
    const input = v128.load(records, INPUT);
    const next = h + strideH;
    let acc = f32x4.splat(0);
    for (let n: usize = 0; n < bytes; n += VECTOR) {
      const x = f32x4.pmin(f32x4.pmax(f32x4.mul(e, v128.load(A + n)), lowest), highest);
      const a = exp2(
        x, v128.load(exp2Constants), v128.load(exp2Constants, 16), v128.load(exp2Constants, 32),
        v128.load(exp2Constants, 48), v128.load(exp2Constants, 64), v128.load(exp2Constants, 80),
        v128.load(exp2Constants, 96),
      );
      const state = madd(a, v128.load(h + n), f32x4.mul(input, v128.load(B + n)));
      v128.store(decays + n, a);
      v128.store(next + n, state);
      acc = madd(v128.load(C + n), state, acc);
    }
    v128.store(records, acc, SUM);
    B += strideB; C += strideC;
    h = next; decays += strideH; records += RECORD;
  }
}

/**
 * Longer chunks compute fewer states twice but take more memory: at [256, 16, 512] a backward pass took 2.67 times a
 * forward pass with 64, 2.56 times with 128.
 */
const FORWARD_CHUNK = 64;
const BACKWARD_CHUNK = 128;

/**
 * Time steps that are computed in one go, at most `most`, about the same number in each chunk. B and C of a chunk,
 * laid out on four lanes, are to stay in the second cache at any dState.
 */
function chunkSizeFor(seqLen: i32, dState: i32, most: i32): i32 {
  const longest = max(16, min(most, 4096 / dState));
  const chunks = (seqLen - 1) / longest + 1;
  return (seqLen - 1) / chunks + 1;
}

/** Four tiles of records, three tiles of A and states, and `rows` rows of [dState][4]. */
function tileBytes(dState: i32, chunkSize: i32, rows: i32): f64 {
  const stride = 64 * (2 * floor<f64>(ceil<f64>(<f64>dState / 4) / 2) + 1); // rowStride
  return 16 * (4 + 28 * <f64>chunkSize + 3 * <f64>dState) + <f64>rows * stride;
}

export function selectiveScanForwardScratchBytes(seqLen: i32, dState: i32): f64 {
  const chunkSize = chunkSizeFor(seqLen, dState, FORWARD_CHUNK);
  return tileBytes(dState, chunkSize, 2 * chunkSize);
}

/** h: initial states in, last states out. */
// prettier-ignore
export function selectiveScanForward(
  y: usize, h: usize,
  u: usize, delta: usize, A: usize, B: usize, C: usize, D: usize, z: usize, deltaBias: usize,
  scratch: usize,
  batch: i32, seqLen: i32, dInner: i32, dState: i32, nGroupsB: i32, nGroupsC: i32, deltaSoftplus: bool,
): void {
  scan(
    y, h, 0, u, delta, A, B, C, D, z, deltaBias, scratch,
    batch, seqLen, dInner, dState, nGroupsB, nGroupsC, deltaSoftplus, chunkSizeFor(seqLen, dState, FORWARD_CHUNK),
  );
}

/**
 * y may be 0: then only states are computed. checkpoints may be 0; else, with batch 1, the states before each chunk go
 * there, [number of chunks, dInner, dState].
 */
// prettier-ignore
function scan(
  y: usize, h: usize, checkpoints: usize,
  u: usize, delta: usize, A: usize, B: usize, C: usize, D: usize, z: usize, deltaBias: usize,
  scratch: usize,
  batch: i32, seqLen: i32, dInner: i32, dState: i32, nGroupsB: i32, nGroupsC: i32,
  deltaSoftplus: bool, chunkSize: i32,
): void {
  const tileSize = <usize>dState << 4;
  const rowBytes = <usize>dInner << 2;
  const rowB = <usize>(nGroupsB * dState) << 2;
  const rowC = <usize>(nGroupsC * dState) << 2;
  const stride = rowStride(dState);
  const strideB = nGroupsB === 0 ? 0 : stride;
  const strideC = nGroupsC === 0 ? 0 : stride;

  const tileRecords = <usize>chunkSize * RECORD;
  const largest = scratch;
  const records = largest + BLOCK_TILES * VECTOR;
  const tileA = records + BLOCK_TILES * tileRecords;
  const tileH = tileA + tileSize;
  const tileDecays = tileH + tileSize;
  const waste = tileDecays; // free when tiles are written back
  const tileB = waste + tileSize;
  const tileC = tileB + <usize>chunkSize * stride;

  for (let b = 0; b < batch; b++) {
    for (let from = 0; from < seqLen; from += chunkSize) {
      const rows = min(chunkSize, seqLen - from);
      if (checkpoints !== 0) {
        memory.copy(checkpoints, h, rowBytes * <usize>dState);
        checkpoints += rowBytes * <usize>dState;
      }
      let firstB = -1;
      let firstC = -1;
      for (let block = 0; block < dInner; block += BLOCK) {
        const channels = min(BLOCK, dInner - block);
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
    h += rowBytes * <usize>dState;
  }
}

/** gate = dy silu(z), the gradient of C . h + D u; and zeros where reverseTile adds. */
// prettier-ignore
function prepareGates(
  records: usize, dy: usize, z: usize, rows: i32, channels: i32, rowBytes: usize, tileRecords: usize,
): void {
  for (let t = 0; t < rows; t++) {
    let record = records;
    for (let c = 0; c < channels; c += 4) {
      const at = <usize>c << 2;
      const lanes = channels - c;
      let gate = f32x4.splat(0);
      if (dy !== 0) {
        gate = loadTail(dy + at, lanes);
        if (z !== 0) gate = f32x4.mul(gate, silu(loadTail(z + at, lanes)));
      }
      v128.store(record, gate, GATE);
      v128.store(record, f32x4.splat(0), FROM_INPUT);
      v128.store(record, f32x4.splat(0), FROM_DECAY);
      record += tileRecords;
    }
    if (dy !== 0) dy += rowBytes;
    if (z !== 0) z += rowBytes;
    records += RECORD;
  }
}

/**
 * The recurrence of one tile backwards in time. dh, the gradient of the state after the chunk, becomes that of the
 * state before it; dA, dB, dC and the records are added to.
 *
 * Two states at a time run through all steps, so that their dh and dA stay in registers: 2.12 -> 1.97 ns for the whole
 * backward pass at [256, 16, 512], against steps outside and states inside.
 */
// prettier-ignore
function reverseTile(
  records: usize, dA: usize, dB: usize, dC: usize, dh: usize,
  decays: usize, states: usize, A: usize, B: usize, C: usize,
  rows: i32, dState: i32, strideB: usize, strideC: usize,
): void {
  const bytes = <usize>dState << 4;
  const stride = rowStride(dState);
  const pairs = <usize>(dState & ~1) << 4;
  const last = <usize>(rows - 1);
  let n: usize = 0;
  for (; n < pairs; n += 2 * VECTOR) {
    const a0 = v128.load(A + n);
    const a1 = v128.load(A + n, 16);
    let dh0 = v128.load(dh + n);
    let dh1 = v128.load(dh + n, 16);
    let dA0 = v128.load(dA + n);
    let dA1 = v128.load(dA + n, 16);
    let record = records + last * RECORD;
    let decay = decays + last * stride + n;
    let before = states + last * stride + n;
    let b = B + last * strideB + n;
    let c = C + last * strideC + n;
    let db = dB + last * strideB + n;
    let dc = dC + last * strideC + n;
    let h0 = v128.load(before + stride);
    let h1 = v128.load(before + stride, 16);
    for (; record >= records; record -= RECORD) {
      const gate = v128.load(record, GATE);
      dh0 = madd(v128.load(c), gate, dh0);
      dh1 = madd(v128.load(c, 16), gate, dh1);
      v128.store(dc, madd(gate, h0, v128.load(dc)));
      v128.store(dc, madd(gate, h1, v128.load(dc, 16)), 16);
      const input = v128.load(record, INPUT);
      v128.store(db, madd(dh0, input, v128.load(db)));
      v128.store(db, madd(dh1, input, v128.load(db, 16)), 16);
      const fromInput = madd(dh0, v128.load(b), v128.load(record, FROM_INPUT));
      v128.store(record, madd(dh1, v128.load(b, 16), fromInput), FROM_INPUT);
      dh0 = f32x4.mul(dh0, v128.load(decay));
      dh1 = f32x4.mul(dh1, v128.load(decay, 16));
      h0 = v128.load(before);
      h1 = v128.load(before, 16);
      const w0 = f32x4.mul(dh0, h0);
      const w1 = f32x4.mul(dh1, h1);
      const step = v128.load(record, STEP);
      dA0 = madd(w0, step, dA0);
      dA1 = madd(w1, step, dA1);
      const fromDecay = madd(w0, a0, v128.load(record, FROM_DECAY));
      v128.store(record, madd(w1, a1, fromDecay), FROM_DECAY);
      decay -= stride; before -= stride;
      b -= strideB; db -= strideB;
      c -= strideC; dc -= strideC;
    }
    v128.store(dh + n, dh0);
    v128.store(dh + n, dh1, 16);
    v128.store(dA + n, dA0);
    v128.store(dA + n, dA1, 16);
  }
  if (n < bytes) {
    const a = v128.load(A + n);
    let gradient = v128.load(dh + n);
    let ofA = v128.load(dA + n);
    for (let t = rows - 1; t >= 0; t--) {
      const record = records + <usize>t * RECORD;
      const i = <usize>t * stride + n;
      const b = <usize>t * strideB + n;
      const c = <usize>t * strideC + n;
      const gate = v128.load(record, GATE);
      gradient = madd(v128.load(C + c), gate, gradient);
      v128.store(dC + c, madd(gate, v128.load(states + i + stride), v128.load(dC + c)));
      v128.store(dB + b, madd(gradient, v128.load(record, INPUT), v128.load(dB + b)));
      v128.store(record, madd(gradient, v128.load(B + b), v128.load(record, FROM_INPUT)), FROM_INPUT);
      gradient = f32x4.mul(gradient, v128.load(decays + i));
      const w = f32x4.mul(gradient, v128.load(states + i));
      ofA = madd(w, v128.load(record, STEP), ofA);
      v128.store(record, madd(w, a, v128.load(record, FROM_DECAY)), FROM_DECAY);
    }
    v128.store(dh + n, gradient);
    v128.store(dA + n, ofA);
  }
}

/** Gradients of what acts at each step alone; dD and dDeltaBias are added to. */
// prettier-ignore
function finishGradients(
  du: usize, ddelta: usize, dD: usize, dz: usize, dDeltaBias: usize,
  dy: usize, u: usize, delta: usize, D: usize, z: usize, deltaBias: usize,
  records: usize, rows: i32, channels: i32, rowBytes: usize, tileRecords: usize, deltaSoftplus: bool,
): void {
  for (let t = 0; t < rows; t++) {
    const row = <usize>t * rowBytes;
    let record = records + <usize>t * RECORD;
    for (let c = 0; c < channels; c += 4) {
      const at = <usize>c << 2;
      const i = row + at;
      const lanes = channels - c;
      const input = loadTail(u + i, lanes);
      const gate = v128.load(record, GATE);
      const throughB = v128.load(record, FROM_INPUT);
      let ofInput = f32x4.mul(v128.load(record, STEP), throughB);
      let ofStep = madd(input, throughB, v128.load(record, FROM_DECAY));
      if (deltaSoftplus) {
        let raw = loadTail(delta + i, lanes);
        if (deltaBias !== 0) raw = f32x4.add(raw, loadTail(deltaBias + at, lanes));
        ofStep = f32x4.mul(ofStep, sigmoid(raw));
      }
      if (D !== 0) {
        ofInput = madd(gate, loadTail(D + at, lanes), ofInput);
        storeTail(dD + at, madd(gate, input, loadTail(dD + at, lanes)), lanes);
      }
      if (z !== 0) {
        let gradient = f32x4.splat(0);
        if (dy !== 0) {
          let ungated = v128.load(record, SUM);
          if (D !== 0) ungated = madd(loadTail(D + at, lanes), input, ungated);
          const slope = siluSlope(loadTail(z + i, lanes));
          gradient = f32x4.mul(f32x4.mul(loadTail(dy + i, lanes), ungated), slope);
        }
        storeTail(dz + i, gradient, lanes);
      }
      storeTail(du + i, ofInput, lanes);
      storeTail(ddelta + i, ofStep, lanes);
      if (deltaBias !== 0) {
        storeTail(dDeltaBias + at, f32x4.add(ofStep, loadTail(dDeltaBias + at, lanes)), lanes);
      }
      record += tileRecords;
    }
  }
}

/** Adds the lanes of gradient[rows][dState][4], of channels from `first` on, to the rows of dB or dC that they read. */
// prettier-ignore
function collapse(
  target: usize, gradient: usize, first: i32, rows: i32, dInner: i32, dState: i32, nGroups: i32,
): void {
  const rowBytes = <usize>dState << 2;
  const channels = min(4, dInner - first);
  const shared = sameRows(first, first, dInner, nGroups);
  const turns = shared ? 1 : channels;
  for (let t = 0; t < rows; t++) {
    for (let lane = 0; lane < turns; lane++) {
      const row = target + <usize>rowOf(first + lane, dInner, nGroups) * rowBytes;
      for (let n: usize = 0; n < rowBytes; n += 4) {
        const source = gradient + n * 4;
        const value = shared ? sum(v128.load(source)) : load<f32>(source + (<usize>lane << 2));
        store<f32>(row + n, load<f32>(row + n) + value);
      }
    }
    gradient += rowStride(dState);
    target += <usize>nGroups * rowBytes;
  }
}

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
    if (chunks > 1) {
      scan(
        0, lastCheckpoint, checkpoints, u, delta, A, B, C, 0, 0, deltaBias, scratch,
        1, (chunks - 1) * chunkSize, dInner, dState, nGroupsB, nGroupsC, deltaSoftplus, chunkSize,
      );
    }
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

/** Two rows of channels, padded to whole vectors, and four vectors. */
export function selectiveScanStepScratchBytes(dInner: i32): f64 {
  return 32 * ceil<f64>(<f64>dInner / 4) + 64;
}

/**
 * One step of each sequence, h in place. Here h and A are read once, so nothing is laid out anew: lanes run along
 * dState, which must be a multiple of 4 (others take a forward pass of one step).
 *
 *   y, u, delta, z  [batch, dInner]      B, C  [batch, nGroups, dState], or [dInner, dState] where nGroups is 0
 */
// prettier-ignore
export function selectiveScanStep(
  y: usize, h: usize,
  u: usize, delta: usize, A: usize, B: usize, C: usize, D: usize, z: usize, deltaBias: usize,
  scratch: usize,
  batch: i32, dInner: i32, dState: i32, nGroupsB: i32, nGroupsC: i32, deltaSoftplus: bool,
): void {
  const magic = v128.load(exp2Constants);
  const c5 = v128.load(exp2Constants, 16);
  const c4 = v128.load(exp2Constants, 32);
  const c3 = v128.load(exp2Constants, 48);
  const c2 = v128.load(exp2Constants, 64);
  const c1 = v128.load(exp2Constants, 80);
  const one = v128.load(exp2Constants, 96);
  const stateBytes = <usize>dState << 2;
  const rowBytes = <usize>dInner << 2;
  const perB = nGroupsB === 0 ? 1 : dInner / nGroupsB;
  const perC = nGroupsC === 0 ? 1 : dInner / nGroupsC;
  const exponents = scratch; // [dInner], as inputs, both padded to whole vectors
  const inputs = exponents + ((rowBytes + 15) & ~15);
  const sums = inputs + ((rowBytes + 15) & ~15);
  for (let b = 0; b < batch; b++) {
    // In a pass of its own: the states of a channel would wait for its softplus (27 us, now 21, at [1536, 16]).
    for (let d = 0; d < dInner; d += 4) {
      const at = <usize>d << 2;
      const lanes = dInner - d;
      let step = loadTail(delta + at, lanes);
      if (deltaBias !== 0) step = f32x4.add(step, loadTail(deltaBias + at, lanes));
      if (deltaSoftplus) step = softplus(step);
      v128.store(exponents + at, f32x4.mul(step, v128.load(LOG2E)));
      v128.store(inputs + at, f32x4.mul(step, loadTail(u + at, lanes)));
    }
    let rowA = A;
    let rowB = B;
    let rowC = C;
    let leftB = perB; // channels that still read rowB
    let leftC = perC;
    for (let d = 0; d < dInner; d += 4) {
      const at = <usize>d << 2;
      const lanes = min(4, dInner - d);
      for (let lane = 0; lane < lanes; lane++) {
        const e = v128.load32_splat(exponents + at + (<usize>lane << 2));
        const input = v128.load32_splat(inputs + at + (<usize>lane << 2));
        let acc = f32x4.splat(0);
        for (let n: usize = 0; n < stateBytes; n += VECTOR) {
          const a = v128.load(rowA + n);
          let x = f32x4.pmax(f32x4.mul(e, a), v128.load(exp2Constants, 112));
          x = f32x4.pmin(x, v128.load(exp2Constants, 128));
          const decay = exp2(x, magic, c5, c4, c3, c2, c1, one);
          const state = madd(decay, v128.load(h + n), f32x4.mul(input, v128.load(rowB + n)));
          v128.store(h + n, state);
          acc = madd(v128.load(rowC + n), state, acc);
        }
        v128.store(sums + (<usize>lane << 4), acc);
        rowA += stateBytes; h += stateBytes;
        if (--leftB === 0) { rowB += stateBytes; leftB = perB; }
        if (--leftC === 0) { rowC += stateBytes; leftC = perC; }
      }
      let out = sumEach(v128.load(sums), v128.load(sums, 16), v128.load(sums, 32), v128.load(sums, 48));
      if (D !== 0) out = madd(loadTail(D + at, lanes), loadTail(u + at, lanes), out);
      if (z !== 0) out = f32x4.mul(out, silu(loadTail(z + at, lanes)));
      storeTail(y + at, out, lanes);
    }
    y += rowBytes; u += rowBytes; delta += rowBytes;
    if (z !== 0) z += rowBytes;
    B += <usize>nGroupsB * stateBytes; C += <usize>nGroupsC * stateBytes;
  }
}

/** The sums of a, of b, of c and of d, in this order. */
function sumEach(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(
    i8x16.shuffle(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23),
    i8x16.shuffle(a, b, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31),
  );
  const cd = f32x4.add(
    i8x16.shuffle(c, d, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23),
    i8x16.shuffle(c, d, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31),
  );
  return f32x4.add(
    i8x16.shuffle(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
    i8x16.shuffle(ab, cd, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31),
  );
}
