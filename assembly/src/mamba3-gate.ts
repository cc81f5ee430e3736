/**
 * What follows the state space in a block of Mamba-3 (https://github.com/state-spaces/mamba): norm, gate, and the sum over
 * ranks. Of each token and head:
 *
 *   y[p] = sum_r mimoO[r, p] n(x[r])[p] silu(z[p] mimoZ[r, p])      n(x) = weight x / sqrt(mean(x^2) + eps), or x
 *
 *   x, dx  [tokens, nHeads, nRanks, headDim]      mimoZ, mimoO  [nHeads, nRanks, headDim], ones if absent (0)
 *   y, z, dy, dz  [tokens, nHeads, headDim]       weight        [nHeads, headDim]; no norm if absent (0)
 */
import { roundUp, roundUpLarge } from './matrix/rows';
import { scratchEnd, startScratch, takeFloats } from './matrix/scratch';
import { loadTail, madd, silu, siluSlope, storeTail, sum } from './simd';

/** A row of what may be absent: ones. */
function factors(row: usize, at: usize, rest: i32): v128 {
  return row == 0 ? f32x4.splat(1) : loadTail(row + at, rest);
}

/** 1 / sqrt(mean(x^2) + eps), summed up in double precision: no square overflows. */
function scaleOf(x: usize, size: i32, eps: f32): f32 {
  let low = f64x2.splat(0);
  let high = low;
  for (let p = 0; p < size; p += 4) {
    const value = loadTail(x + ((<usize>p) << 2), size - p);
    const first = f64x2.promote_low_f32x4(value);
    const second = f64x2.promote_low_f32x4(v128.shuffle<f64>(value, value, 1, 1));
    low = f64x2.add(low, f64x2.mul(first, first));
    high = f64x2.add(high, f64x2.mul(second, second));
  }
  const total = f64x2.add(low, high);
  const squares = f64x2.extract_lane(total, 0) + f64x2.extract_lane(total, 1);
  return <f32>(1 / Math.sqrt(squares / <f64>size + <f64>eps));
}

/** Units are tokens. */
// prettier-ignore
export function mamba3GateForward(
  y: usize, x: usize, z: usize, weight: usize, mimoZ: usize, mimoO: usize,
  nHeads: i32, nRanks: i32, headDim: i32, eps: f32, first: i32, count: i32,
): void {
  const row = (<usize>headDim) << 2;
  const heads = <usize>nHeads * row;
  const token = <usize>first * heads;
  y += token; z += token; x += token * nRanks;
  for (; count > 0; count--) {
    for (let at: usize = 0; at < heads; at += row, y += row, z += row) {
      for (let r = 0; r < nRanks; r++, x += row) {
        const ofRank = at * nRanks + <usize>r * row;
        gateRow(
          y, x, z, weight == 0 ? 0 : weight + at, mimoZ == 0 ? 0 : mimoZ + ofRank,
          mimoO == 0 ? 0 : mimoO + ofRank, headDim, eps, r > 0,
        );
      }
    }
  }
}

/** One rank of a head; added to y if it is not the first. */
// prettier-ignore
function gateRow(
  y: usize, x: usize, z: usize, weight: usize, mimoZ: usize, mimoO: usize, size: i32, eps: f32, adds: bool,
): void {
  const scale = weight == 0 ? f32x4.splat(1) : f32x4.splat(scaleOf(x, size, eps));
  for (let p = 0; p < size; p += 4) {
    const at = (<usize>p) << 2;
    const rest = size - p;
    let value = loadTail(x + at, rest);
    if (weight != 0) value = f32x4.mul(f32x4.mul(value, scale), loadTail(weight + at, rest));
    let gate = loadTail(z + at, rest);
    if (mimoZ != 0) gate = f32x4.mul(gate, loadTail(mimoZ + at, rest));
    value = f32x4.mul(value, silu(gate));
    if (mimoO != 0) value = f32x4.mul(value, loadTail(mimoO + at, rest));
    if (adds) value = f32x4.add(value, loadTail(y + at, rest));
    storeTail(y + at, value, rest);
  }
}

@unmanaged
class BackwardCall {
  nRanks: i32;
  headDim: i32;
  eps: f32;
  /** Sums over tokens, doubles: [headDim], and [nRanks, headDim] twice; rows in whole vectors. */
  weightSums: usize;
  mimoZSums: usize;
  mimoOSums: usize;
  sumRow: usize; // bytes of a row
  end: usize;
}

function layOut(c: BackwardCall, scratch: usize): void {
  const row = 2 * roundUpLarge(<f64>c.headDim, 4);
  startScratch(scratch, offsetof<BackwardCall>());
  c.sumRow = <usize>roundUp(c.headDim, 4) * 8;
  c.weightSums = takeFloats(row);
  c.mimoZSums = takeFloats(row * <f64>c.nRanks);
  c.mimoOSums = takeFloats(row * <f64>c.nRanks);
  c.end = takeFloats(0);
}

/** Where a call is laid out of which only the size is asked. */
const nowhere: usize = memory.data(offsetof<BackwardCall>());

export function mamba3GateBackwardScratchBytes(nRanks: i32, headDim: i32): f64 {
  const c = changetype<BackwardCall>(nowhere);
  c.nRanks = nRanks;
  c.headDim = headDim;
  layOut(c, 0);
  return scratchEnd();
}

/** Units are heads: each sums up the gradients of its parameters over all tokens. */
// prettier-ignore
export function mamba3GateBackward(
  dx: usize, dz: usize, dweight: usize, dMimoZ: usize, dMimoO: usize,
  dy: usize, x: usize, z: usize, weight: usize, mimoZ: usize, mimoO: usize,
  tokens: i32, nHeads: i32, nRanks: i32, headDim: i32, eps: f32, scratch: usize, first: i32, count: i32,
): void {
  const c = changetype<BackwardCall>(scratch);
  c.nRanks = nRanks; c.headDim = headDim; c.eps = eps;
  layOut(c, scratch);
  const row = (<usize>headDim) << 2;
  const heads = <usize>nHeads * row;
  for (const end = first + count; first < end; first++) {
    const at = <usize>first * row;
    const ofRanks = at * nRanks;
    memory.fill(c.weightSums, 0, c.end - c.weightSums);
    for (let token: usize = 0; token < <usize>tokens; token++) {
      const here = token * heads + at;
      for (let r: usize = 0; r < <usize>nRanks; r++) {
        const ofRank = ofRanks + r * row;
        const xAt = token * heads * nRanks + ofRank;
        rowGradients(
          c, r, dx + xAt, dz + here, dy + here, x + xAt, z + here, weight == 0 ? 0 : weight + at,
          mimoZ == 0 ? 0 : mimoZ + ofRank, mimoO == 0 ? 0 : mimoO + ofRank,
        );
      }
    }
    if (weight != 0) storeSums(dweight + at, c.weightSums, headDim);
    for (let r: usize = 0; r < <usize>nRanks; r++) {
      if (mimoZ != 0) storeSums(dMimoZ + ofRanks + r * row, c.mimoZSums + r * c.sumRow, headDim);
      if (mimoO != 0) storeSums(dMimoO + ofRanks + r * row, c.mimoOSums + r * c.sumRow, headDim);
    }
  }
}

// prettier-ignore
function rowGradients(
  c: BackwardCall, r: usize, dx: usize, dz: usize, dy: usize, x: usize, z: usize,
  weight: usize, mimoZ: usize, mimoO: usize,
): void {
  const size = c.headDim;
  const scale = weight == 0 ? f32x4.splat(1) : f32x4.splat(scaleOf(x, size, c.eps));
  let dots = f32x4.splat(0);
  for (let p = 0; p < size; p += 4) {
    const at = (<usize>p) << 2;
    const rest = size - p;
    const ofRank = r * c.sumRow + at * 2;
    const gateFactor = factors(mimoZ, at, rest);
    const input = loadTail(z + at, rest);
    const gate = f32x4.mul(input, gateFactor);
    const opened = silu(gate);
    const up = loadTail(dy + at, rest);
    const weighted = f32x4.mul(up, factors(mimoO, at, rest));
    const hat = f32x4.mul(loadTail(x + at, rest), scale);
    const factor = factors(weight, at, rest);
    const value = f32x4.mul(hat, factor);
    if (mimoO != 0) addWide(c.mimoOSums + ofRank, f32x4.mul(up, f32x4.mul(value, opened)));
    const dGate = f32x4.mul(f32x4.mul(weighted, value), siluSlope(gate));
    if (mimoZ != 0) addWide(c.mimoZSums + ofRank, f32x4.mul(dGate, input));
    const dInput = f32x4.mul(dGate, gateFactor);
    storeTail(dz + at, r == 0 ? dInput : f32x4.add(dInput, loadTail(dz + at, rest)), rest);
    let dValue = f32x4.mul(weighted, opened);
    if (weight != 0) {
      addWide(c.weightSums + at * 2, f32x4.mul(dValue, hat));
      dValue = f32x4.mul(dValue, factor);
      dots = madd(dValue, hat, dots);
    }
    storeTail(dx + at, dValue, rest);
  }
  if (weight == 0) return;
  // Through the norm: dx = scale (d - hat mean(d hat)).
  const mean = f32x4.splat(sum(dots) / <f32>size);
  for (let p = 0; p < size; p += 4) {
    const at = (<usize>p) << 2;
    const rest = size - p;
    const hat = f32x4.mul(loadTail(x + at, rest), scale);
    storeTail(dx + at, f32x4.mul(scale, f32x4.sub(loadTail(dx + at, rest), f32x4.mul(hat, mean))), rest);
  }
}

/** Four floats onto four doubles. */
function addWide(sums: usize, x: v128): void {
  v128.store(sums, f64x2.add(v128.load(sums), f64x2.promote_low_f32x4(x)));
  const high = f64x2.promote_low_f32x4(v128.shuffle<f64>(x, x, 1, 1));
  v128.store(sums, f64x2.add(v128.load(sums, 16), high), 16);
}

function storeSums(out: usize, sums: usize, size: i32): void {
  for (; size > 0; size--, out += 4, sums += 8) store<f32>(out, <f32>load<f64>(sums));
}
