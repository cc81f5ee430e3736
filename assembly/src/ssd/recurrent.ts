/** The recurrence as it stands, step by step. */
import { exp, loadTail, madd, silu, softplus, storeTail, sum } from '../simd';

/** One step of some heads of one sequence, at the first of which h lies; it is updated in place. Lanes run along dState, four channels share the loads of B and C. */
// prettier-ignore
function advance(
  y: usize, h: usize,
  x: usize, dt: usize, A: usize, B: usize, C: usize, D: usize, z: usize, dtBias: usize,
  firstHead: i32, end: i32, headsOfGroup: i32, headDim: i32, dState: i32,
  skipByChannel: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32,
): void {
  const row = <usize>dState * 4;
  const skipped = <usize>(firstHead * headDim) * 4;
  x += skipped;
  y += skipped;
  if (z != 0) z += skipped;
  if (skipByChannel && D != 0) D += skipped;
  for (let head = firstHead; head < end; head++) {
    const at = <usize>head * 4;
    const group = <usize>(head / headsOfGroup) * row;
    const step = stepOf(load<f32>(dt + at) + (dtBias == 0 ? 0 : load<f32>(dtBias + at)), dtSoftplus, dtMin, dtMax);
    const decay = exp(f32x4.splat(step * load<f32>(A + at)));
    for (let p = 0; p < headDim; p += 4) {
      const rest = headDim - p;
      const inputs = loadTail(x, rest);
      let outputs = recall(h, row, B + group, C + group, decay, f32x4.mul(f32x4.splat(step), inputs), dState, rest);
      if (D != 0) {
        const skipped = skipByChannel ? loadTail(D, rest) : v128.load32_splat(D + at);
        outputs = madd(skipped, inputs, outputs);
        if (skipByChannel) D += <usize>min(rest, 4) * 4;
      }
      if (z != 0) {
        outputs = f32x4.mul(outputs, silu(loadTail(z, rest)));
        z += <usize>min(rest, 4) * 4;
      }
      storeTail(y, outputs, rest);
      const moved = <usize>min(rest, 4);
      x += moved * 4;
      y += moved * 4;
      h += moved * row;
    }
  }
}

function stepOf(raw: f32, dtSoftplus: i32, dtMin: f32, dtMax: f32): f32 {
  const step = dtSoftplus ? f32x4.extract_lane(softplus(f32x4.splat(raw)), 0) : raw;
  return min<f32>(dtMax, max<f32>(dtMin, step));
}

/** h = decay h + inputs B on up to four channels; C.h of each. */
// prettier-ignore
function recall(
  h: usize, row: usize, B: usize, C: usize, decay: v128, inputs: v128, dState: i32, count: i32,
): v128 {
  const x0 = v128.shuffle<f32>(inputs, inputs, 0, 0, 0, 0);
  const x1 = v128.shuffle<f32>(inputs, inputs, 1, 1, 1, 1);
  const x2 = v128.shuffle<f32>(inputs, inputs, 2, 2, 2, 2);
  const x3 = v128.shuffle<f32>(inputs, inputs, 3, 3, 3, 3);
  let y0 = f32x4.splat(0);
  let y1 = y0;
  let y2 = y0;
  let y3 = y0;
  let h1 = h + row;
  let h2 = h1 + row;
  let h3 = h2 + row;
  let n = 0;
  if (count >= 4) {
    for (; n + 4 <= dState; n += 4) {
      const b = v128.load(B);
      const c = v128.load(C);
      const s0 = madd(decay, v128.load(h), f32x4.mul(x0, b));
      const s1 = madd(decay, v128.load(h1), f32x4.mul(x1, b));
      const s2 = madd(decay, v128.load(h2), f32x4.mul(x2, b));
      const s3 = madd(decay, v128.load(h3), f32x4.mul(x3, b));
      v128.store(h, s0);
      v128.store(h1, s1);
      v128.store(h2, s2);
      v128.store(h3, s3);
      y0 = madd(c, s0, y0);
      y1 = madd(c, s1, y1);
      y2 = madd(c, s2, y2);
      y3 = madd(c, s3, y3);
      h += 16;
      h1 += 16;
      h2 += 16;
      h3 += 16;
      B += 16;
      C += 16;
    }
  }
  // What is left: the end of the rows, or rows that are fewer than four.
  for (; n < dState; n += 4) {
    const rest = dState - n;
    const b = loadTail(B, rest);
    const c = loadTail(C, rest);
    const s0 = madd(decay, loadTail(h, rest), f32x4.mul(x0, b));
    storeTail(h, s0, rest);
    y0 = madd(c, s0, y0);
    if (count > 1) {
      const s1 = madd(decay, loadTail(h1, rest), f32x4.mul(x1, b));
      storeTail(h1, s1, rest);
      y1 = madd(c, s1, y1);
    }
    if (count > 2) {
      const s2 = madd(decay, loadTail(h2, rest), f32x4.mul(x2, b));
      storeTail(h2, s2, rest);
      y2 = madd(c, s2, y2);
    }
    if (count > 3) {
      const s3 = madd(decay, loadTail(h3, rest), f32x4.mul(x3, b));
      storeTail(h3, s3, rest);
      y3 = madd(c, s3, y3);
    }
    h += 16;
    h1 += 16;
    h2 += 16;
    h3 += 16;
    B += 16;
    C += 16;
  }
  return f32x4(sum(y0), sum(y1), sum(y2), sum(y3));
}

/** Steps of some heads, counted over the batch; h is updated in place. */
// prettier-ignore
function advanceHeads(
  y: usize, h: usize,
  x: usize, dt: usize, A: usize, B: usize, C: usize, D: usize, z: usize, dtBias: usize,
  seqLen: i32, nHeads: i32, headDim: i32, nGroups: i32, dState: i32,
  skipByChannel: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32, first: i32, count: i32,
): void {
  const headRow = <usize>nHeads * 4;
  const xRow = headRow * headDim;
  const groupRow = <usize>nGroups * dState * 4;
  const stateBytes = <usize>headDim * dState * 4;
  h += <usize>first * stateBytes;
  for (let b = first / nHeads, h0 = first % nHeads; count > 0; b++, h0 = 0) {
    const end = min(nHeads, h0 + count);
    count -= end - h0;
    for (let t = <usize>b * seqLen, last = t + seqLen; t < last; t++) {
      advance(
        y + t * xRow, h, x + t * xRow, dt + t * headRow, A, B + t * groupRow, C + t * groupRow, D,
        z == 0 ? 0 : z + t * xRow, dtBias, h0, end, nHeads / nGroups, headDim, dState,
        skipByChannel, dtSoftplus, dtMin, dtMax,
      );
    }
    h += <usize>(end - h0) * stateBytes;
  }
}

/** The recurrence as it stands, step by step: h becomes the last state. Units are heads, counted over the batch. */
// prettier-ignore
export function ssdRecurrentForward(
  y: usize, h: usize,
  x: usize, dt: usize, A: usize, B: usize, C: usize, D: usize, z: usize, dtBias: usize, initialState: usize,
  seqLen: i32, nHeads: i32, headDim: i32, nGroups: i32, dState: i32,
  skipByChannel: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32, first: i32, count: i32,
): void {
  const stateBytes = <usize>headDim * dState * 4;
  const at = <usize>first * stateBytes;
  if (initialState == 0) memory.fill(h + at, 0, <usize>count * stateBytes);
  else memory.copy(h + at, initialState + at, <usize>count * stateBytes);
  advanceHeads(
    y, h, x, dt, A, B, C, D, z, dtBias, seqLen, nHeads, headDim, nGroups, dState,
    skipByChannel, dtSoftplus, dtMin, dtMax, first, count,
  );
}

/** One step of a batch of sequences, y and x [batch, nHeads, headDim] and so on; h is updated in place. */
// prettier-ignore
export function ssdStep(
  y: usize, h: usize,
  x: usize, dt: usize, A: usize, B: usize, C: usize, D: usize, z: usize, dtBias: usize,
  nHeads: i32, headDim: i32, nGroups: i32, dState: i32,
  skipByChannel: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32, first: i32, count: i32,
): void {
  advanceHeads(
    y, h, x, dt, A, B, C, D, z, dtBias, 1, nHeads, headDim, nGroups, dState,
    skipByChannel, dtSoftplus, dtMin, dtMax, first, count,
  );
}
