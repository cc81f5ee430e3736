/** How the scan lays out its working memory: tiles of four channels, records of steps, chunks of time. */
import { loadTail, storeTail } from '../simd';

export const VECTOR: usize = 16; // bytes of four lanes
export const BLOCK = 16; // channels in a cache line
export const BLOCK_TILES: usize = 4;

/** Blocks of channels in a sequence. */
export function blocksOf(dInner: i32): i32 {
  return (dInner + BLOCK - 1) / BLOCK;
}

/** What a tile keeps of a time step, a record: seven vectors, at these places. */
export const STEP: usize = 0; // delta as it acts
export const EXPONENT: usize = 16; // log2(e) delta
export const INPUT: usize = 32; // delta u
export const SUM: usize = 48; // C . h
export const GATE: usize = 64; // gradient of C . h
export const FROM_INPUT: usize = 80; // dh . B
export const FROM_DECAY: usize = 96; // (decay dh h[t-1]) . A
export const RECORD: usize = 112;

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
export function loadTile(target: usize, source: usize, first: i32, dInner: i32, dState: i32): void {
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
export function storeTile(
  target: usize,
  source: usize,
  first: i32,
  dInner: i32,
  dState: i32,
  waste: usize,
): void {
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
export function rowStride(dState: i32): usize {
  return ((<usize>((dState + 3) >> 2)) | 1) << 6;
}

/** The row of B or C that a lane reads: its number among the nGroups rows of a step, or the channel. */
function rowOf(channel: i32, dInner: i32, nGroups: i32): i32 {
  if (nGroups === 1) return 0; // saves two divisions
  return nGroups === 0 ? channel : channel / (dInner / nGroups);
}

/** Whether the tile at channel d reads the same rows of B or C as the tile at `first` (-1: none) did. */
export function sameRows(first: i32, d: i32, dInner: i32, nGroups: i32): bool {
  if (first < 0 || nGroups === 0) return false;
  const row = rowOf(first, dInner, nGroups);
  return row === rowOf(min(d + 3, dInner - 1), dInner, nGroups);
}

/**
 * B or C for four channels from `first` on, as [rows][dState][4], rowStride apart.
 */
// prettier-ignore
export function expand(
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
 * Time steps that are computed in one go, at most `most`, about the same number in each chunk. B and C of a chunk,
 * laid out on four lanes, are to stay in the second cache at any dState.
 */
export function chunkSizeFor(seqLen: i32, dState: i32, most: i32): i32 {
  const longest = max(16, min(most, 4096 / dState));
  const chunks = (seqLen - 1) / longest + 1;
  return (seqLen - 1) / chunks + 1;
}

/** Four tiles of records, three tiles of A and states, and `rows` rows of [dState][4]. */
export function tileBytes(dState: i32, chunkSize: i32, rows: i32): f64 {
  const stride = 64 * (2 * floor<f64>(ceil<f64>(<f64>dState / 4) / 2) + 1); // rowStride
  return 16 * (4 + 28 * <f64>chunkSize + 3 * <f64>dState) + <f64>rows * stride;
}

/** Clears `rows` rows of a gradient of B or C, from the row of channel `begin` to that of `end` - 1 in each. */
// prettier-ignore
export function clearRows(
  target: usize, rows: i32, begin: i32, end: i32, dInner: i32, dState: i32, nGroups: i32,
): void {
  const rowBytes = <usize>dState << 2;
  const first = rowOf(begin, dInner, nGroups);
  const bytes = <usize>(rowOf(end - 1, dInner, nGroups) + 1 - first) * rowBytes;
  const step = <usize>nGroups * rowBytes;
  target += <usize>first * rowBytes;
  if (nGroups <= 1) memory.fill(target, 0, bytes * <usize>rows);
  else for (let t = 0; t < rows; t++, target += step) memory.fill(target, 0, bytes);
}

/** Adds the lanes of gradient[rows][dState][4], of channels from `first` on, to the rows of dB or dC that they read. */
// prettier-ignore
export function collapse(
  target: usize, gradient: usize, first: i32, rows: i32, dInner: i32, dState: i32, nGroups: i32,
): void {
  const rowBytes = <usize>dState << 2;
  const channels = min(4, dInner - first);
  const shared = sameRows(first, first, dInner, nGroups);
  for (let t = 0; t < rows; t++) {
    if (shared) {
      const row = target + <usize>rowOf(first, dInner, nGroups) * rowBytes;
      for (let n = 0; n < dState; n += 4) {
        const at = row + (<usize>n << 2);
        const source = gradient + (<usize>n << 4);
        const sums = sumEach(v128.load(source), v128.load(source, 16), v128.load(source, 32), v128.load(source, 48));
        storeTail(at, f32x4.add(loadTail(at, dState - n), sums), dState - n);
      }
    } else {
      for (let lane = 0; lane < channels; lane++) {
        const row = target + <usize>rowOf(first + lane, dInner, nGroups) * rowBytes;
        for (let n: usize = 0; n < rowBytes; n += 4) {
          store<f32>(row + n, load<f32>(row + n) + load<f32>(gradient + n * 4 + (<usize>lane << 2)));
        }
      }
    }
    gradient += rowStride(dState);
    target += <usize>nGroups * rowBytes;
  }
}

/** The sums of a, of b, of c and of d, in this order. */
export function sumEach(a: v128, b: v128, c: v128, d: v128): v128 {
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
