/**
 * Causal depthwise convolution along the sequence, with SiLU if `activation` is 1:
 *
 *   y[t] = bias + sum_k weight[k] x[t - (width - 1) + k]
 *
 *   y, x    [batch, seqLen, channels]           weight  [channels, width]
 *   states  [batch, width - 1, channels]        bias    [channels]
 *
 * A state holds the last width - 1 inputs, oldest first: those before the first step, or up to the last. bias and
 * initialState may be 0 (zeros); width 1 has no states.
 *
 * Units are blocks of CHANNELS channels, in all sequences: so sums over batch and time are the work of one unit.
 *
 * Lanes run along the channels. The weights are transposed first, into scratch. Width 4, that of Mamba, goes by four
 * steps at a time, which share the loads of weights and inputs; the rest, of any width, by single steps.
 */
import { loadTail, madd, silu, siluSlope, storeTail } from './simd';

const STEPS = 4;
const CHANNELS = 16; // a cache line

/** out[k][c] = weight[c][k], for channels begin..end-1. */
function transposeWeights(out: usize, weight: usize, channels: i32, width: i32, begin: i32, end: i32): void {
  const row = (<usize>channels) << 2;
  weight += <usize>(begin * width) << 2;
  let c = begin;
  for (; width == STEPS && c + 4 <= end; c += 4) {
    const target = out + ((<usize>c) << 2);
    const r0 = v128.load(weight);
    const r1 = v128.load(weight, 16);
    const r2 = v128.load(weight, 32);
    const r3 = v128.load(weight, 48);
    const low01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
    const high01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
    const low23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
    const high23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
    v128.store(target, v128.shuffle<f64>(low01, low23, 0, 2));
    v128.store(target + row, v128.shuffle<f64>(low01, low23, 1, 3));
    v128.store(target + 2 * row, v128.shuffle<f64>(high01, high23, 0, 2));
    v128.store(target + 3 * row, v128.shuffle<f64>(high01, high23, 1, 3));
    weight += 64;
  }
  for (; c < end; c++) {
    for (let k = 0; k < width; k++) {
      store<f32>(out + ((<usize>k * channels + c) << 2), load<f32>(weight));
      weight += 4;
    }
  }
}

/** The input at step t, which may lie before the start; 0 if that is all zeros. */
@inline
function inputRow(x: usize, state: usize, t: i32, width: i32, row: usize): usize {
  if (t >= 0) return x + <usize>t * row;
  return state == 0 ? 0 : state + <usize>(t + width - 1) * row;
}

/** What the activation is applied to, at step t on the channels from c on, `rest` of them at most four. */
// prettier-ignore
@inline
function weighted(
  x: usize, state: usize, weights: usize, bias: usize, t: i32, c: i32, channels: i32, width: i32,
): v128 {
  const rest = channels - c;
  const row = <usize>channels << 2;
  const at = <usize>c << 2;
  let acc = bias == 0 ? f32x4.splat(0) : loadTail(bias + at, rest);
  for (let k = 0; k < width; k++) {
    const input = inputRow(x, state, t - (width - 1) + k, width, row);
    if (input != 0) acc = madd(loadTail(weights + <usize>k * row + at, rest), loadTail(input + at, rest), acc);
  }
  return acc;
}

/** Steps begin..end-1 on the channels from..to-1; from is a multiple of 4, to one or the number of channels. */
// prettier-ignore
function forwardSteps(
  y: usize, x: usize, state: usize, weights: usize, bias: usize,
  begin: i32, end: i32, from: i32, to: i32, channels: i32, width: i32, activation: i32,
): void {
  for (let t = begin; t < end; t++) {
    const out = y + <usize>t * (<usize>channels << 2);
    for (let c = from; c < to; c += 4) {
      const sum = weighted(x, state, weights, bias, t, c, channels, width);
      storeTail(out + (<usize>c << 2), activation ? silu(sum) : sum, channels - c);
    }
  }
}

/** Four steps from x and y on, width 4, on whole vectors; the three rows before x are inputs too. */
// prettier-ignore
function forwardBlock(
  y: usize, x: usize, weights: usize, bias: usize, row: usize, vectors: i32, activation: i32,
): void {
  const w1 = weights + row;
  const w2 = w1 + row;
  const w3 = w2 + row;
  const before1 = x - row;
  const before2 = before1 - row;
  const before3 = before2 - row;
  const x1 = x + row;
  const x2 = x1 + row;
  const x3 = x2 + row;
  const y1 = y + row;
  const y2 = y1 + row;
  const y3 = y2 + row;
  const end = <usize>vectors << 4;
  for (let at: usize = 0; at < end; at += 16) {
    let s0 = f32x4.splat(0);
    if (bias != 0) s0 = v128.load(bias + at);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    const a = v128.load(before1 + at);
    const b = v128.load(x + at);
    const c = v128.load(x1 + at);
    const d = v128.load(x2 + at);
    let w = v128.load(weights + at);
    s0 = madd(w, v128.load(before3 + at), s0);
    const e = v128.load(before2 + at);
    s1 = madd(w, e, s1);
    s2 = madd(w, a, s2);
    s3 = madd(w, b, s3);
    w = v128.load(w1 + at);
    s0 = madd(w, e, s0);
    s1 = madd(w, a, s1);
    s2 = madd(w, b, s2);
    s3 = madd(w, c, s3);
    w = v128.load(w2 + at);
    s0 = madd(w, a, s0);
    s1 = madd(w, b, s1);
    s2 = madd(w, c, s2);
    s3 = madd(w, d, s3);
    w = v128.load(w3 + at);
    s0 = madd(w, b, s0);
    s1 = madd(w, c, s1);
    s2 = madd(w, d, s2);
    s3 = madd(w, v128.load(x3 + at), s3);
    if (activation) {
      s0 = silu(s0);
      s1 = silu(s1);
      s2 = silu(s2);
      s3 = silu(s3);
    }
    v128.store(y + at, s0);
    v128.store(y1 + at, s1);
    v128.store(y2 + at, s2);
    v128.store(y3 + at, s3);
  }
}

export function causalConv1dForwardScratchBytes(channels: i32, width: i32): f64 {
  return 4 * <f64>width * <f64>channels;
}

/** Scratch: width rows of channels. lastState is 0 if width is 1. */
// prettier-ignore
export function causalConv1dForward(
  y: usize, lastState: usize,
  x: usize, weight: usize, bias: usize, initialState: usize,
  batch: i32, seqLen: i32, channels: i32, width: i32, activation: i32, scratch: usize, first: i32, count: i32,
): void {
  const row = <usize>channels << 2;
  const kept = width - 1;
  const from = first * CHANNELS;
  const to = min(channels, from + count * CHANNELS);
  const at = <usize>from << 2;
  const vectors = (to - from) >> 2;
  const rest = from + (vectors << 2);
  const biases = bias == 0 ? 0 : bias + at;
  transposeWeights(scratch, weight, channels, width, from, to);
  for (let b = 0; b < batch; b++) {
    // Blocks take whole vectors of the steps from `kept` on; single steps take what lies before, beside and after.
    const blocks = width == STEPS && vectors > 0 ? max(seqLen - kept, 0) / STEPS : 0;
    const blocked = kept + blocks * STEPS;
    if (blocks == 0) {
      forwardSteps(y, x, initialState, scratch, bias, 0, seqLen, from, to, channels, width, activation);
    } else {
      forwardSteps(y, x, initialState, scratch, bias, 0, kept, from, to, channels, width, activation);
      for (let t = kept; t < blocked; t += STEPS) {
        const i = <usize>t * row + at;
        forwardBlock(y + i, x + i, scratch + at, biases, row, vectors, activation);
      }
      forwardSteps(y, x, initialState, scratch, bias, kept, blocked, rest, to, channels, width, activation);
      forwardSteps(y, x, initialState, scratch, bias, blocked, seqLen, from, to, channels, width, activation);
    }
    for (let i = 0; i < kept; i++) {
      const source = inputRow(x, initialState, seqLen - kept + i, width, row);
      const own = <usize>(to - from) << 2;
      if (source == 0) memory.fill(lastState + at, 0, own);
      else memory.copy(lastState + at, source + at, own);
      lastState += row;
    }
    y += row * seqLen;
    x += row * seqLen;
    if (initialState != 0) initialState += row * kept;
  }
}

/**
 * Steps begin..end-1 backwards, on the channels from..to-1. With g[t] the gradient of step t before the
 * activation, dx[t] = sum_k weight[k] g[t + width - 1 - k]: it is complete, and written, width - 1 steps later, so
 * that the last steps lie beyond the sequence, where g is 0. Of g a ring of `width` rows is kept.
 */
// prettier-ignore
function backwardSteps(
  dx: usize, dInitialState: usize, dweights: usize, dbias: usize, ring: usize,
  dy: usize, dLastState: usize, x: usize, state: usize, weights: usize, bias: usize,
  begin: i32, end: i32, from: i32, to: i32, seqLen: i32, channels: i32, width: i32, activation: i32,
): void {
  const row = <usize>channels << 2;
  const kept = width - 1;
  for (let t = begin; t < end; t++) {
    const target = inputRow(dx, dInitialState, t - kept, width, row);
    const fromState = t - kept - (seqLen - kept); // the row of lastState that the step was copied to
    for (let c = from; c < to; c += 4) {
      const rest = channels - c;
      const at = <usize>c << 2;
      let g = f32x4.splat(0);
      if (t < seqLen && dy != 0) {
        g = loadTail(dy + <usize>t * row + at, rest);
        if (activation) g = f32x4.mul(g, siluSlope(weighted(x, state, weights, bias, t, c, channels, width)));
        storeTail(dbias + at, f32x4.add(loadTail(dbias + at, rest), g), rest);
        for (let k = 0; k < width; k++) {
          const input = inputRow(x, state, t - kept + k, width, row);
          const sum = dweights + <usize>k * row + at;
          if (input != 0) storeTail(sum, madd(g, loadTail(input + at, rest), loadTail(sum, rest)), rest);
        }
      }
      storeTail(ring + <usize>(t % width) * row + at, g, rest);
      let total = dLastState != 0 && fromState >= 0 ? loadTail(dLastState + <usize>fromState * row + at, rest) : f32x4.splat(0);
      for (let k = 0; k < width && k <= t; k++) {
        const later = ring + <usize>((t - k) % width) * row + at;
        total = madd(loadTail(weights + <usize>k * row + at, rest), loadTail(later, rest), total);
      }
      if (target != 0) storeTail(target + at, total, rest);
    }
  }
}

/**
 * Four steps from t on, width 4, on whole vectors: as above, dx being that of the steps t - 3 to t. The ring's rows in
 * the order of their steps: t, t - 3, t - 2, t - 1.
 */
// prettier-ignore
function backwardBlock(
  dx: usize, dweights: usize, dbias: usize, now: usize, before3: usize, before2: usize, before1: usize,
  dy: usize, x: usize, weights: usize, bias: usize, row: usize, vectors: i32, activation: i32,
): void {
  const end = <usize>vectors << 4;
  const row2 = 2 * row;
  const row3 = 3 * row;
  const x3 = x - row3;
  for (let at: usize = 0; at < end; at += 16) {
    const w0 = v128.load(weights + at);
    const w1 = v128.load(weights + row + at);
    const w2 = v128.load(weights + row2 + at);
    const w3 = v128.load(weights + row3 + at);
    let g0 = v128.load(dy + at);
    let g1 = v128.load(dy + row + at);
    let g2 = v128.load(dy + row2 + at);
    let g3 = v128.load(dy + row3 + at);
    const xa = v128.load(x3 + at);
    const xb = v128.load(x3 + row + at);
    const xc = v128.load(x3 + row2 + at);
    const xd = v128.load(x + at);
    const xe = v128.load(x + row + at);
    const xf = v128.load(x + row2 + at);
    const xg = v128.load(x + row3 + at);
    if (activation) {
      const start = bias == 0 ? f32x4.splat(0) : v128.load(bias + at);
      g0 = f32x4.mul(g0, siluSlope(madd(w3, xd, madd(w2, xc, madd(w1, xb, madd(w0, xa, start))))));
      g1 = f32x4.mul(g1, siluSlope(madd(w3, xe, madd(w2, xd, madd(w1, xc, madd(w0, xb, start))))));
      g2 = f32x4.mul(g2, siluSlope(madd(w3, xf, madd(w2, xe, madd(w1, xd, madd(w0, xc, start))))));
      g3 = f32x4.mul(g3, siluSlope(madd(w3, xg, madd(w2, xf, madd(w1, xe, madd(w0, xd, start))))));
    }
    v128.store(dbias + at, f32x4.add(v128.load(dbias + at), f32x4.add(f32x4.add(g0, g1), f32x4.add(g2, g3))));
    let sum = dweights + at;
    v128.store(sum, madd(g3, xd, madd(g2, xc, madd(g1, xb, madd(g0, xa, v128.load(sum))))));
    sum += row;
    v128.store(sum, madd(g3, xe, madd(g2, xd, madd(g1, xc, madd(g0, xb, v128.load(sum))))));
    sum += row;
    v128.store(sum, madd(g3, xf, madd(g2, xe, madd(g1, xd, madd(g0, xc, v128.load(sum))))));
    sum += row;
    v128.store(sum, madd(g3, xg, madd(g2, xf, madd(g1, xe, madd(g0, xd, v128.load(sum))))));

    const ga = v128.load(before3 + at);
    const gb = v128.load(before2 + at);
    const gc = v128.load(before1 + at);
    v128.store(dx + at, madd(w0, g0, madd(w1, gc, madd(w2, gb, f32x4.mul(w3, ga)))));
    v128.store(dx + row + at, madd(w0, g1, madd(w1, g0, madd(w2, gc, f32x4.mul(w3, gb)))));
    v128.store(dx + row2 + at, madd(w0, g2, madd(w1, g1, madd(w2, g0, f32x4.mul(w3, gc)))));
    v128.store(dx + row3 + at, madd(w0, g3, madd(w1, g2, madd(w2, g1, f32x4.mul(w3, g0)))));
    v128.store(now + at, g0);
    v128.store(before3 + at, g1);
    v128.store(before2 + at, g2);
    v128.store(before1 + at, g3);
  }
}

export function causalConv1dBackwardScratchBytes(channels: i32, width: i32): f64 {
  return 4 * (3 * <f64>width + 1) * <f64>channels;
}

/** Scratch: 3 width + 1 rows of channels. dbias, dInitialState, dy and dLastState may be 0. */
// prettier-ignore
export function causalConv1dBackward(
  dx: usize, dweight: usize, dbias: usize, dInitialState: usize,
  dy: usize, dLastState: usize, x: usize, weight: usize, bias: usize, initialState: usize,
  batch: i32, seqLen: i32, channels: i32, width: i32, activation: i32, scratch: usize, first: i32, count: i32,
): void {
  const row = <usize>channels << 2;
  const kept = width - 1;
  const from = first * CHANNELS;
  const to = min(channels, from + count * CHANNELS);
  const at = <usize>from << 2;
  const own = <usize>(to - from) << 2;
  const vectors = (to - from) >> 2;
  const rest = from + (vectors << 2);
  const biases = bias == 0 ? 0 : bias + at;
  const weights = scratch;
  const dweights = weights + <usize>width * row;
  const ring = dweights + <usize>width * row;
  const biasSum = ring + <usize>width * row;
  transposeWeights(weights, weight, channels, width, from, to);
  for (let k = 0; k < width; k++) memory.fill(dweights + <usize>k * row + at, 0, own);
  memory.fill(biasSum + at, 0, own);
  for (let b = 0; b < batch; b++) {
    const blocks = width == STEPS && vectors > 0 && dy != 0 ? max(seqLen - kept, 0) / STEPS : 0;
    const blocked = kept + blocks * STEPS;
    if (blocks == 0) {
      backwardSteps(
        dx, dInitialState, dweights, biasSum, ring, dy, dLastState, x, initialState, weights, bias,
        0, seqLen + kept, from, to, seqLen, channels, width, activation,
      );
    } else {
      backwardSteps(
        dx, dInitialState, dweights, biasSum, ring, dy, dLastState, x, initialState, weights, bias,
        0, kept, from, to, seqLen, channels, width, activation,
      );
      for (let t = kept; t < blocked; t += STEPS) {
        const i = <usize>t * row + at;
        backwardBlock(
          dx + i - <usize>kept * row, dweights + at, biasSum + at, ring + at + 3 * row, ring + at,
          ring + at + row, ring + at + 2 * row, dy + i, x + i, weights + at, biases, row, vectors, activation,
        );
      }
      backwardSteps(
        dx, dInitialState, dweights, biasSum, ring, dy, dLastState, x, initialState, weights, bias,
        kept, blocked, rest, to, seqLen, channels, width, activation,
      );
      backwardSteps(
        dx, dInitialState, dweights, biasSum, ring, dy, dLastState, x, initialState, weights, bias,
        blocked, seqLen + kept, from, to, seqLen, channels, width, activation,
      );
    }
    dx += row * seqLen;
    x += row * seqLen;
    if (dy != 0) dy += row * seqLen;
    if (dLastState != 0) dLastState += row * kept;
    if (initialState != 0) initialState += row * kept;
    if (dInitialState != 0) dInitialState += row * kept;
  }
  dweight += <usize>(from * width) << 2;
  for (let c = from; c < to; c++) {
    for (let k = 0; k < width; k++) {
      store<f32>(dweight, load<f32>(dweights + ((<usize>k * channels + c) << 2)));
      dweight += 4;
    }
  }
  if (dbias != 0) memory.copy(dbias + at, biasSum + at, own);
}

export function causalConv1dStepScratchBytes(channels: i32, width: i32): f64 {
  return causalConv1dForwardScratchBytes(channels, width);
}

/** One step: y, x [batch, channels]; the state is shifted by one, x becomes its last row. Scratch: width rows. */
// prettier-ignore
export function causalConv1dStep(
  y: usize, state: usize, x: usize, weight: usize, bias: usize,
  batch: i32, channels: i32, width: i32, activation: i32, scratch: usize, first: i32, count: i32,
): void {
  const row = <usize>channels << 2;
  const from = first * CHANNELS;
  const to = min(channels, from + count * CHANNELS);
  const at = <usize>from << 2;
  const own = <usize>(to - from) << 2;
  transposeWeights(scratch, weight, channels, width, from, to);
  for (let b = 0; b < batch; b++) {
    forwardSteps(y, x, state, scratch, bias, 0, 1, from, to, channels, width, activation);
    for (let k = 1; k < width; k++, state += row) {
      memory.copy(state + at, (k < width - 1 ? state + row : x) + at, own);
    }
    y += row;
    x += row;
  }
}
