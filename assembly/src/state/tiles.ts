/**
 * What linear attention and the delta rule share: a matrix-valued state that a sequence of rank-one updates moves,
 *
 *   S *= gate[t];  out[t] += read[t] S;  S += write[t] lanes[t]^T
 *
 *   S  [splats, lanes]   read, write  [steps, splats]   lanes, out  [steps, lanes]
 *
 * The state is cut into tiles of 4 rows and 8 columns. A tile stays in registers (8 of 16) while the steps of a
 * block pass by, so the recurrence itself runs at the speed of a register-blocked matrix product: 4 flops an element
 * of the state and step, where the chunked form would add the products within a chunk. What a step writes is not
 * read in that step; the caller adds it (`ownRows`).
 *
 * There are five tiles, each written out, with its state in locals: registers do not hold an array, and with a branch or
 * a call inside the loop V8 keeps the state in memory.
 *
 * Rows are padded with zeros to a multiple of 8 floats (rows.ts). With direction -1 time runs backwards: the state of a
 * gradient moves by the same rule.
 */
import { madd } from '../simd';

/** Steps in a block: its rows and a state of 64 x 64 fit into the first-level cache. */
export const BLOCK: i32 = 32;

/** The gate is one number for each row of the state, or for each of its columns. */
export const ALONG_ROWS: i32 = 0;
export const ALONG_COLUMNS: i32 = 1;

// prettier-ignore
function advancePlain(
  out: usize, state: usize, read: usize, write: usize, lanes: usize,
  steps: i32, stateRow: usize, splatRow: usize, laneRow: usize,
): void {
  const state1 = state + stateRow, state2 = state1 + stateRow, state3 = state2 + stateRow;
  let s00 = v128.load(state), s01 = v128.load(state, 16);
  let s10 = v128.load(state1), s11 = v128.load(state1, 16);
  let s20 = v128.load(state2), s21 = v128.load(state2, 16);
  let s30 = v128.load(state3), s31 = v128.load(state3, 16);
  for (let t = 0; t < steps; t++) {
    let o0 = v128.load(out), o1 = v128.load(out, 16);
    let x = v128.load32_splat(read);
    o0 = madd(x, s00, o0); o1 = madd(x, s01, o1);
    x = v128.load32_splat(read, 4);
    o0 = madd(x, s10, o0); o1 = madd(x, s11, o1);
    x = v128.load32_splat(read, 8);
    o0 = madd(x, s20, o0); o1 = madd(x, s21, o1);
    x = v128.load32_splat(read, 12);
    o0 = madd(x, s30, o0); o1 = madd(x, s31, o1);
    v128.store(out, o0); v128.store(out, o1, 16);
    const c0 = v128.load(lanes), c1 = v128.load(lanes, 16);
    x = v128.load32_splat(write);
    s00 = madd(x, c0, s00); s01 = madd(x, c1, s01);
    x = v128.load32_splat(write, 4);
    s10 = madd(x, c0, s10); s11 = madd(x, c1, s11);
    x = v128.load32_splat(write, 8);
    s20 = madd(x, c0, s20); s21 = madd(x, c1, s21);
    x = v128.load32_splat(write, 12);
    s30 = madd(x, c0, s30); s31 = madd(x, c1, s31);
    out += laneRow; lanes += laneRow; read += splatRow; write += splatRow;
  }
  v128.store(state, s00); v128.store(state, s01, 16);
  v128.store(state1, s10); v128.store(state1, s11, 16);
  v128.store(state2, s20); v128.store(state2, s21, 16);
  v128.store(state3, s30); v128.store(state3, s31, 16);
}

// prettier-ignore
function advanceGatedRows(
  out: usize, state: usize, read: usize, write: usize, lanes: usize, gate: usize,
  steps: i32, stateRow: usize, splatRow: usize, laneRow: usize,
): void {
  const state1 = state + stateRow, state2 = state1 + stateRow, state3 = state2 + stateRow;
  let s00 = v128.load(state), s01 = v128.load(state, 16);
  let s10 = v128.load(state1), s11 = v128.load(state1, 16);
  let s20 = v128.load(state2), s21 = v128.load(state2, 16);
  let s30 = v128.load(state3), s31 = v128.load(state3, 16);
  for (let t = 0; t < steps; t++) {
    let o0 = v128.load(out), o1 = v128.load(out, 16);
    let x = v128.load32_splat(gate);
    s00 = f32x4.mul(x, s00); s01 = f32x4.mul(x, s01);
    x = v128.load32_splat(read);
    o0 = madd(x, s00, o0); o1 = madd(x, s01, o1);
    x = v128.load32_splat(gate, 4);
    s10 = f32x4.mul(x, s10); s11 = f32x4.mul(x, s11);
    x = v128.load32_splat(read, 4);
    o0 = madd(x, s10, o0); o1 = madd(x, s11, o1);
    x = v128.load32_splat(gate, 8);
    s20 = f32x4.mul(x, s20); s21 = f32x4.mul(x, s21);
    x = v128.load32_splat(read, 8);
    o0 = madd(x, s20, o0); o1 = madd(x, s21, o1);
    x = v128.load32_splat(gate, 12);
    s30 = f32x4.mul(x, s30); s31 = f32x4.mul(x, s31);
    x = v128.load32_splat(read, 12);
    o0 = madd(x, s30, o0); o1 = madd(x, s31, o1);
    v128.store(out, o0); v128.store(out, o1, 16);
    const c0 = v128.load(lanes), c1 = v128.load(lanes, 16);
    x = v128.load32_splat(write);
    s00 = madd(x, c0, s00); s01 = madd(x, c1, s01);
    x = v128.load32_splat(write, 4);
    s10 = madd(x, c0, s10); s11 = madd(x, c1, s11);
    x = v128.load32_splat(write, 8);
    s20 = madd(x, c0, s20); s21 = madd(x, c1, s21);
    x = v128.load32_splat(write, 12);
    s30 = madd(x, c0, s30); s31 = madd(x, c1, s31);
    out += laneRow; lanes += laneRow; read += splatRow; write += splatRow; gate += splatRow;
  }
  v128.store(state, s00); v128.store(state, s01, 16);
  v128.store(state1, s10); v128.store(state1, s11, 16);
  v128.store(state2, s20); v128.store(state2, s21, 16);
  v128.store(state3, s30); v128.store(state3, s31, 16);
}

// prettier-ignore
function advanceGatedColumns(
  out: usize, state: usize, read: usize, write: usize, lanes: usize, gate: usize,
  steps: i32, stateRow: usize, splatRow: usize, laneRow: usize,
): void {
  const state1 = state + stateRow, state2 = state1 + stateRow, state3 = state2 + stateRow;
  let s00 = v128.load(state), s01 = v128.load(state, 16);
  let s10 = v128.load(state1), s11 = v128.load(state1, 16);
  let s20 = v128.load(state2), s21 = v128.load(state2, 16);
  let s30 = v128.load(state3), s31 = v128.load(state3, 16);
  for (let t = 0; t < steps; t++) {
    const g0 = v128.load(gate), g1 = v128.load(gate, 16);
    let o0 = v128.load(out), o1 = v128.load(out, 16);
    let x = v128.load32_splat(read);
    s00 = f32x4.mul(g0, s00); s01 = f32x4.mul(g1, s01);
    o0 = madd(x, s00, o0); o1 = madd(x, s01, o1);
    x = v128.load32_splat(read, 4);
    s10 = f32x4.mul(g0, s10); s11 = f32x4.mul(g1, s11);
    o0 = madd(x, s10, o0); o1 = madd(x, s11, o1);
    x = v128.load32_splat(read, 8);
    s20 = f32x4.mul(g0, s20); s21 = f32x4.mul(g1, s21);
    o0 = madd(x, s20, o0); o1 = madd(x, s21, o1);
    x = v128.load32_splat(read, 12);
    s30 = f32x4.mul(g0, s30); s31 = f32x4.mul(g1, s31);
    o0 = madd(x, s30, o0); o1 = madd(x, s31, o1);
    v128.store(out, o0); v128.store(out, o1, 16);
    const c0 = v128.load(lanes), c1 = v128.load(lanes, 16);
    x = v128.load32_splat(write);
    s00 = madd(x, c0, s00); s01 = madd(x, c1, s01);
    x = v128.load32_splat(write, 4);
    s10 = madd(x, c0, s10); s11 = madd(x, c1, s11);
    x = v128.load32_splat(write, 8);
    s20 = madd(x, c0, s20); s21 = madd(x, c1, s21);
    x = v128.load32_splat(write, 12);
    s30 = madd(x, c0, s30); s31 = madd(x, c1, s31);
    out += laneRow; lanes += laneRow; read += splatRow; write += splatRow; gate += laneRow;
  }
  v128.store(state, s00); v128.store(state, s01, 16);
  v128.store(state1, s10); v128.store(state1, s11, 16);
  v128.store(state2, s20); v128.store(state2, s21, 16);
  v128.store(state3, s30); v128.store(state3, s31, 16);
}

/**
 * Moves the state [splats, lanes] over the steps of a block; both sizes are padded. `gate` may be 0: no gate.
 * All pointers are to the first row in memory, also where time runs backwards.
 */
// prettier-ignore
export function advance(
  out: usize, state: usize, read: usize, write: usize, lanes: usize, gate: usize,
  gateAlong: i32, steps: i32, splatSize: i32, laneSize: i32, direction: i32,
): void {
  const stateRow = (<usize>laneSize) << 2;
  const splatEnd = (<usize>splatSize) << 2;
  const splatRow = <usize>(splatSize * 4 * direction);
  const laneRow = <usize>(laneSize * 4 * direction);
  const gateRow = gateAlong == ALONG_ROWS ? splatRow : laneRow;
  if (direction < 0) {
    const last = <usize>(steps - 1); // the rows are negative: time starts at the last one
    out -= last * laneRow; lanes -= last * laneRow;
    read -= last * splatRow; write -= last * splatRow;
    if (gate != 0) gate -= last * gateRow;
  }
  for (let lane: usize = 0; lane < stateRow; lane += 32) {
    for (let splat: usize = 0; splat < splatEnd; splat += 16) {
      const tile = state + (splat >> 2) * stateRow + lane;
      if (gate == 0) {
        advancePlain(out + lane, tile, read + splat, write + splat, lanes + lane, steps, stateRow, splatRow, laneRow);
      } else if (gateAlong == ALONG_ROWS) {
        advanceGatedRows(out + lane, tile, read + splat, write + splat, lanes + lane, gate + splat, steps, stateRow, splatRow, laneRow);
      } else {
        advanceGatedColumns(out + lane, tile, read + splat, write + splat, lanes + lane, gate + lane, steps, stateRow, splatRow, laneRow);
      }
    }
  }
}

// prettier-ignore
function tileTwoReads(
  out: usize, outB: usize, state: usize, read: usize, readB: usize, write: usize, lanes: usize, gate: usize,
  steps: i32, stateRow: usize, splatRow: usize, laneRow: usize,
): void {
  const state1 = state + stateRow, state2 = state1 + stateRow, state3 = state2 + stateRow;
  let s00 = v128.load(state), s01 = v128.load(state, 16);
  let s10 = v128.load(state1), s11 = v128.load(state1, 16);
  let s20 = v128.load(state2), s21 = v128.load(state2, 16);
  let s30 = v128.load(state3), s31 = v128.load(state3, 16);
  for (let t = 0; t < steps; t++) {
    let x = v128.load32_splat(gate);
    s00 = f32x4.mul(x, s00); s01 = f32x4.mul(x, s01);
    s10 = f32x4.mul(x, s10); s11 = f32x4.mul(x, s11);
    s20 = f32x4.mul(x, s20); s21 = f32x4.mul(x, s21);
    s30 = f32x4.mul(x, s30); s31 = f32x4.mul(x, s31);
    let o0 = v128.load(out), o1 = v128.load(out, 16);
    x = v128.load32_splat(read);
    o0 = madd(x, s00, o0); o1 = madd(x, s01, o1);
    x = v128.load32_splat(read, 4);
    o0 = madd(x, s10, o0); o1 = madd(x, s11, o1);
    x = v128.load32_splat(read, 8);
    o0 = madd(x, s20, o0); o1 = madd(x, s21, o1);
    x = v128.load32_splat(read, 12);
    o0 = madd(x, s30, o0); o1 = madd(x, s31, o1);
    v128.store(out, o0); v128.store(out, o1, 16);
    o0 = v128.load(outB); o1 = v128.load(outB, 16);
    x = v128.load32_splat(readB);
    o0 = madd(x, s00, o0); o1 = madd(x, s01, o1);
    x = v128.load32_splat(readB, 4);
    o0 = madd(x, s10, o0); o1 = madd(x, s11, o1);
    x = v128.load32_splat(readB, 8);
    o0 = madd(x, s20, o0); o1 = madd(x, s21, o1);
    x = v128.load32_splat(readB, 12);
    o0 = madd(x, s30, o0); o1 = madd(x, s31, o1);
    v128.store(outB, o0); v128.store(outB, o1, 16);
    const c0 = v128.load(lanes), c1 = v128.load(lanes, 16);
    x = v128.load32_splat(write);
    s00 = madd(x, c0, s00); s01 = madd(x, c1, s01);
    x = v128.load32_splat(write, 4);
    s10 = madd(x, c0, s10); s11 = madd(x, c1, s11);
    x = v128.load32_splat(write, 8);
    s20 = madd(x, c0, s20); s21 = madd(x, c1, s21);
    x = v128.load32_splat(write, 12);
    s30 = madd(x, c0, s30); s31 = madd(x, c1, s31);
    out += laneRow; outB += laneRow; lanes += laneRow;
    read += splatRow; readB += splatRow; write += splatRow; gate += 4;
  }
  v128.store(state, s00); v128.store(state, s01, 16);
  v128.store(state1, s10); v128.store(state1, s11, 16);
  v128.store(state2, s20); v128.store(state2, s21, 16);
  v128.store(state3, s30); v128.store(state3, s31, 16);
}

/** As `advance` with one forget factor a step, forwards in time, for two reads: outB[t] += readB[t] S. */
// prettier-ignore
export function advanceTwoReads(
  out: usize, outB: usize, state: usize, read: usize, readB: usize, write: usize, lanes: usize, gate: usize,
  steps: i32, splatSize: i32, laneSize: i32,
): void {
  const splatRow = (<usize>splatSize) << 2;
  const laneRow = (<usize>laneSize) << 2;
  for (let lane: usize = 0; lane < laneRow; lane += 32) {
    for (let splat: usize = 0; splat < splatRow; splat += 16) {
      tileTwoReads(
        out + lane, outB + lane, state + (splat >> 2) * laneRow + lane, read + splat, readB + splat, write + splat,
        lanes + lane, gate, steps, laneRow, splatRow, laneRow,
      );
    }
  }
}

// prettier-ignore
function tileTwoWrites(
  out: usize, state: usize, read: usize, write: usize, lanes: usize, writeB: usize, lanesB: usize, gate: usize,
  steps: i32, stateRow: usize, splatRow: usize, laneRow: usize,
): void {
  const state1 = state + stateRow, state2 = state1 + stateRow, state3 = state2 + stateRow;
  let s00 = v128.load(state), s01 = v128.load(state, 16);
  let s10 = v128.load(state1), s11 = v128.load(state1, 16);
  let s20 = v128.load(state2), s21 = v128.load(state2, 16);
  let s30 = v128.load(state3), s31 = v128.load(state3, 16);
  for (let t = 0; t < steps; t++) {
    let x = v128.load32_splat(gate);
    s00 = f32x4.mul(x, s00); s01 = f32x4.mul(x, s01);
    s10 = f32x4.mul(x, s10); s11 = f32x4.mul(x, s11);
    s20 = f32x4.mul(x, s20); s21 = f32x4.mul(x, s21);
    s30 = f32x4.mul(x, s30); s31 = f32x4.mul(x, s31);
    let o0 = v128.load(out), o1 = v128.load(out, 16);
    x = v128.load32_splat(read);
    o0 = madd(x, s00, o0); o1 = madd(x, s01, o1);
    x = v128.load32_splat(read, 4);
    o0 = madd(x, s10, o0); o1 = madd(x, s11, o1);
    x = v128.load32_splat(read, 8);
    o0 = madd(x, s20, o0); o1 = madd(x, s21, o1);
    x = v128.load32_splat(read, 12);
    o0 = madd(x, s30, o0); o1 = madd(x, s31, o1);
    v128.store(out, o0); v128.store(out, o1, 16);
    let c0 = v128.load(lanes), c1 = v128.load(lanes, 16);
    x = v128.load32_splat(write);
    s00 = madd(x, c0, s00); s01 = madd(x, c1, s01);
    x = v128.load32_splat(write, 4);
    s10 = madd(x, c0, s10); s11 = madd(x, c1, s11);
    x = v128.load32_splat(write, 8);
    s20 = madd(x, c0, s20); s21 = madd(x, c1, s21);
    x = v128.load32_splat(write, 12);
    s30 = madd(x, c0, s30); s31 = madd(x, c1, s31);
    c0 = v128.load(lanesB); c1 = v128.load(lanesB, 16);
    x = v128.load32_splat(writeB);
    s00 = madd(x, c0, s00); s01 = madd(x, c1, s01);
    x = v128.load32_splat(writeB, 4);
    s10 = madd(x, c0, s10); s11 = madd(x, c1, s11);
    x = v128.load32_splat(writeB, 8);
    s20 = madd(x, c0, s20); s21 = madd(x, c1, s21);
    x = v128.load32_splat(writeB, 12);
    s30 = madd(x, c0, s30); s31 = madd(x, c1, s31);
    out -= laneRow; lanes -= laneRow; lanesB -= laneRow;
    read -= splatRow; write -= splatRow; writeB -= splatRow; gate -= 4;
  }
  v128.store(state, s00); v128.store(state, s01, 16);
  v128.store(state1, s10); v128.store(state1, s11, 16);
  v128.store(state2, s20); v128.store(state2, s21, 16);
  v128.store(state3, s30); v128.store(state3, s31, 16);
}

/** As `advance` with one forget factor a step, backwards in time, for two updates: S += writeB[t] lanesB[t]^T. */
// prettier-ignore
export function advanceTwoWrites(
  out: usize, state: usize, read: usize, write: usize, lanes: usize, writeB: usize, lanesB: usize, gate: usize,
  steps: i32, splatSize: i32, laneSize: i32,
): void {
  const splatRow = (<usize>splatSize) << 2;
  const laneRow = (<usize>laneSize) << 2;
  const last = <usize>(steps - 1);
  out += last * laneRow; lanes += last * laneRow; lanesB += last * laneRow;
  read += last * splatRow; write += last * splatRow; writeB += last * splatRow; gate += last << 2;
  for (let lane: usize = 0; lane < laneRow; lane += 32) {
    for (let splat: usize = 0; splat < splatRow; splat += 16) {
      tileTwoWrites(
        out + lane, state + (splat >> 2) * laneRow + lane, read + splat, write + splat, lanes + lane, writeB + splat,
        lanesB + lane, gate, steps, laneRow, splatRow, laneRow,
      );
    }
  }
}
