/** The recurrence as it stands, step by step. */
import { exp, loadTail, madd, silu, softplus, storeTail, sum } from '../simd';

/** One step of one sequence; h is updated in place. Lanes run along dState, four channels share the loads of B and C. */
// prettier-ignore
function advance(
  y: usize, h: usize,
  x: usize, dt: usize, A: usize, B: usize, C: usize, D: usize, z: usize, dtBias: usize,
  nHeads: i32, headDim: i32, nGroups: i32, dState: i32,
  skipByChannel: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32,
): void {
  const headsOfGroup = nHeads / nGroups;
  const row = <usize>dState * 4;
  for (let head = 0; head < nHeads; head++) {
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

/** The recurrence as it stands, step by step: h is the initial state, and becomes the last. */
// prettier-ignore
export function ssdRecurrentForward(
  y: usize, h: usize,
  x: usize, dt: usize, A: usize, B: usize, C: usize, D: usize, z: usize, dtBias: usize,
  batch: i32, seqLen: i32, nHeads: i32, headDim: i32, nGroups: i32, dState: i32,
  skipByChannel: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32,
): void {
  const headRow = <usize>nHeads * 4;
  const xRow = headRow * headDim;
  const groupRow = <usize>nGroups * dState * 4;
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < seqLen; t++) {
      advance(
        y, h, x, dt, A, B, C, D, z, dtBias,
        nHeads, headDim, nGroups, dState, skipByChannel, dtSoftplus, dtMin, dtMax,
      );
      y += xRow;
      x += xRow;
      if (z != 0) z += xRow;
      dt += headRow;
      B += groupRow;
      C += groupRow;
    }
    h += xRow * dState;
  }
}

/** One step of a batch of sequences, y and x [batch, nHeads, headDim] and so on; h is updated in place. */
// prettier-ignore
export function ssdStep(
  y: usize, h: usize,
  x: usize, dt: usize, A: usize, B: usize, C: usize, D: usize, z: usize, dtBias: usize,
  batch: i32, nHeads: i32, headDim: i32, nGroups: i32, dState: i32,
  skipByChannel: i32, dtSoftplus: i32, dtMin: f32, dtMax: f32,
): void {
  ssdRecurrentForward(
    y, h, x, dt, A, B, C, D, z, dtBias,
    batch, 1, nHeads, headDim, nGroups, dState, skipByChannel, dtSoftplus, dtMin, dtMax,
  );
}
