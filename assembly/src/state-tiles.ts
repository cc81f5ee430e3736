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
 * Rows are padded with zeros to a multiple of 8 floats. With direction -1 time runs backwards: the state of a
 * gradient moves by the same rule.
 */
import { exp, expNegative, loadTail, madd, storeTail, sum } from './simd';

/** Steps in a block: its rows and a state of 64 x 64 fit into the first-level cache. */
export const BLOCK: i32 = 32;

export const IDENTITY: i32 = 0;
export const RELU: i32 = 1;
export const ELU1: i32 = 2;

/** The gate is one number for each row of the state, or for each of its columns. */
export const ALONG_ROWS: i32 = 0;
export const ALONG_COLUMNS: i32 = 1;

const one: usize = memory.data<f32>([1, 1, 1, 1], 16);

/** Size of a padded row. */
export function padded(size: i32): i32 {
  return (size + 7) & ~7;
}

/** Bytes of a padded row, for sizes of scratch memory: integers would wrap beyond 4 GiB. */
export function paddedBytes(size: i32): f64 {
  return ceil<f64>(<f64>size / 8) * 32;
}

/** A pointer moved on; 0, an absent argument, stays 0. */
export function shifted(pointer: usize, offset: usize): usize {
  if (pointer == 0) return 0;
  return pointer + offset;
}

export function zeroRows(target: usize, floats: i32): void {
  memory.fill(target, 0, (<usize>floats) << 2);
}

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

/** x . y of two padded rows. */
export function dot(x: usize, y: usize, size: i32): f32 {
  let acc0 = f32x4.splat(0);
  let acc1 = f32x4.splat(0);
  for (const end = x + ((<usize>size) << 2); x < end; x += 32, y += 32) {
    acc0 = madd(v128.load(x), v128.load(y), acc0);
    acc1 = madd(v128.load(x, 16), v128.load(y, 16), acc1);
  }
  return sum(f32x4.add(acc0, acc1));
}

/** out += factor x, padded rows. */
export function addRow(out: usize, x: usize, factor: f32, size: i32): void {
  const f = f32x4.splat(factor);
  for (const end = out + ((<usize>size) << 2); out < end; out += 16, x += 16) {
    v128.store(out, madd(f, v128.load(x), v128.load(out)));
  }
}

/** out[t] = (x[t] . y[t]) lanes[t]: what each step reads of its own update. */
// prettier-ignore
export function ownRows(out: usize, x: usize, y: usize, lanes: usize, steps: i32, splatSize: i32, laneSize: i32): void {
  const splatRow = (<usize>splatSize) << 2;
  const laneRow = (<usize>laneSize) << 2;
  for (let t = 0; t < steps; t++) {
    const own = f32x4.splat(dot(x, y, splatSize));
    for (let i: usize = 0; i < laneRow; i += 16) v128.store(out + i, f32x4.mul(own, v128.load(lanes + i)));
    out += laneRow; lanes += laneRow; x += splatRow; y += splatRow;
  }
}

/**
 * Reads one word of each cache line, to bring a run of memory near. Rows of one head lie apart, and a copy that
 * waits for each of them alone is bound by latency: at 4096 steps of 8 x 64 channels this took 30 % off. The sum goes
 * to `sink`, or the compiler would drop the loads.
 */
export function touch(source: usize, bytes: usize, sink: usize): void {
  let any: i32 = 0;
  for (const end = source + bytes; source < end; source += 64) any |= load<i32>(source);
  store<i32>(sink, any);
}

function relu(x: v128): v128 {
  return f32x4.pmax(x, f32x4.splat(0));
}

/** e^x or x + 1; one of the terms is 1 or 0, so the sum is exact. */
function elu1(x: v128): v128 {
  const zero = f32x4.splat(0);
  return f32x4.add(expNegative(f32x4.pmin(x, zero)), f32x4.pmax(x, zero));
}

function featureSlope(x: v128, map: i32): v128 {
  const unit = v128.load(one);
  if (map == IDENTITY) return unit;
  const zero = f32x4.splat(0);
  const positive = f32x4.gt(x, zero);
  if (map == RELU) return v128.and(unit, positive);
  return v128.bitselect(unit, expNegative(f32x4.pmin(zero, x)), positive);
}

/**
 * Copies rows that lie `stride` bytes apart into padded ones, as factor phi(x). A loop for each map, and one place that
 * calls it, rests included: else every vector costs a call, with `identity` a tenth of the forward pass at 64 x 64.
 */
// prettier-ignore
export function packRows(target: usize, source: usize, steps: i32, stride: usize, size: i32, map: i32, factor: f32): void {
  const row = (<usize>padded(size)) << 2;
  const f = f32x4.splat(factor);
  for (let t = 0; t < steps; t++, target += row, source += stride) {
    v128.store(target + row - 32, f32x4.splat(0));
    v128.store(target + row - 16, f32x4.splat(0));
    let from = source;
    let to = target;
    if (map == IDENTITY) {
      for (let rest = size; rest > 0; rest -= 4, from += 16, to += 16) {
        storeTail(to, f32x4.mul(f, loadTail(from, rest)), rest);
      }
    } else if (map == RELU) {
      for (let rest = size; rest > 0; rest -= 4, from += 16, to += 16) {
        storeTail(to, f32x4.mul(f, relu(loadTail(from, rest))), rest);
      }
    } else {
      for (let rest = size; rest > 0; rest -= 4, from += 16, to += 16) {
        storeTail(to, f32x4.mul(f, elu1(loadTail(from, rest))), rest);
      }
    }
  }
}

/** Copies padded rows to ones that lie `stride` bytes apart, as factor rows[t] phi'(x); `x` is 0 if there is no map. */
// prettier-ignore
export function unpackRows(target: usize, source: usize, x: usize, steps: i32, stride: usize, size: i32, map: i32, factor: f32): void {
  const row = (<usize>padded(size)) << 2;
  const whole = (<usize>(size & ~3)) << 2;
  const rest = size & 3;
  const f = f32x4.splat(factor);
  if (map == IDENTITY) {
    for (let t = 0; t < steps; t++) {
      for (let i: usize = 0; i < whole; i += 16) v128.store(target + i, f32x4.mul(f, v128.load(source + i)));
      if (rest) storeTail(target + whole, f32x4.mul(f, v128.load(source + whole)), rest);
      target += stride; source += row;
    }
    return;
  }
  for (let t = 0; t < steps; t++) {
    for (let i: usize = 0; i < whole; i += 16) {
      const slope = featureSlope(v128.load(x + i), map);
      v128.store(target + i, f32x4.mul(f32x4.mul(f, slope), v128.load(source + i)));
    }
    if (rest) {
      const slope = featureSlope(loadTail(x + whole, rest), map);
      storeTail(target + whole, f32x4.mul(f32x4.mul(f, slope), v128.load(source + whole)), rest);
    }
    target += stride; source += row; x += stride;
  }
}

/** Multiplies row t by factors[t]. */
export function scaleRows(rows: usize, factors: usize, steps: i32, size: i32): void {
  const row = (<usize>size) << 2;
  for (let t = 0; t < steps; t++, factors += 4) {
    const f = v128.load32_splat(factors);
    for (const end = rows + row; rows < end; rows += 16) v128.store(rows, f32x4.mul(f, v128.load(rows)));
  }
}

/** Fills padded rows with e^x of one x a row. */
export function packDecay(target: usize, decay: usize, steps: i32, stride: usize, size: i32): void {
  const row = (<usize>padded(size)) << 2;
  for (let t = 0; t < steps; t++, decay += stride) {
    const factor = exp(v128.load32_splat(decay));
    for (const end = target + row; target < end; target += 16) v128.store(target, factor);
  }
}

/** Copies rows that lie `stride` bytes apart into padded ones, as e^x. */
export function packGate(target: usize, gate: usize, steps: i32, stride: usize, size: i32): void {
  const row = (<usize>padded(size)) << 2;
  const whole = (<usize>(size & ~3)) << 2;
  const rest = size & 3;
  for (let t = 0; t < steps; t++, target += row, gate += stride) {
    v128.store(target + row - 32, f32x4.splat(0));
    v128.store(target + row - 16, f32x4.splat(0));
    for (let i: usize = 0; i < whole; i += 16) v128.store(target + i, exp(v128.load(gate + i)));
    if (rest) storeTail(target + whole, exp(loadTail(gate + whole, rest)), rest);
  }
}

/** A state [dKey, dValue] as padded rows; zeros if `source` is 0. */
export function packState(target: usize, source: usize, dKey: i32, dValue: i32): void {
  const row = padded(dValue);
  zeroRows(target, padded(dKey) * row);
  if (source == 0) return;
  for (let i = 0; i < dKey; i++) {
    memory.copy(target, source, (<usize>dValue) << 2);
    target += (<usize>row) << 2;
    source += (<usize>dValue) << 2;
  }
}

/** A state [dKey, dValue] as padded rows of its transpose; zeros if `source` is 0. */
export function packTransposed(target: usize, source: usize, dKey: i32, dValue: i32): void {
  const row = padded(dKey);
  zeroRows(target, padded(dValue) * row);
  if (source == 0) return;
  for (let i = 0; i < dKey; i++) {
    for (let j = 0; j < dValue; j++, source += 4) {
      store<f32>(target + ((<usize>(j * row + i)) << 2), load<f32>(source));
    }
  }
}

/** Padded rows back to a state [dKey, dValue]. */
export function unpackState(target: usize, source: usize, dKey: i32, dValue: i32): void {
  for (let i = 0; i < dKey; i++) {
    memory.copy(target, source, (<usize>dValue) << 2);
    target += (<usize>dValue) << 2;
    source += (<usize>padded(dValue)) << 2;
  }
}
