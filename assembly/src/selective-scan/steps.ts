/** What each step needs outside the loop over states: made ready before a tile runs, and finished after. */
import { loadTail, madd, sigmoid, silu, siluSlope, softplus, storeTail } from '../simd';
import { BLOCK_TILES, EXPONENT, FROM_DECAY, FROM_INPUT, GATE, INPUT, RECORD, STEP, SUM } from './layout';

export const LOG2E: usize = memory.data<f32>([1.44269504, 1.44269504, 1.44269504, 1.44269504], 16);

/**
 * Makes ready the records of up to 16 channels, a cache line of u and delta: with one tile at a time, lines of rows
 * that lie a power of two apart push each other out before the next tile comes (1.08 times the time at
 * [1536, 16, 1024]).
 * Also largest[tile] = the largest |exponent| of each lane; a NaN may be missing there, it is in the inputs.
 */
// prettier-ignore
export function prepareSteps(
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
export function finishSteps(
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

/** gate = dy silu(z), the gradient of C . h + D u; and zeros where reverseTile adds. */
// prettier-ignore
export function prepareGates(
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

/** Gradients of what acts at each step alone; dD and dDeltaBias are added to. */
// prettier-ignore
export function finishGradients(
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
