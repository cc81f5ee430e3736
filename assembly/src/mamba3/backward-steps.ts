/** The gradients of the steps of a head, from those of its rows. */
import { addRow, addScaledRow, dot, dotPadded, narrowed } from '../matrix/rows';
import { loadTail, madd, sigmoid, storeTail } from '../simd';
import { groupOf } from '../ssd/call';
import { gatherSteps } from '../ssd/decays';
import { BackwardCall } from './backward-call';
import { turnBack } from './rotation';
import { keptAt, keptStep } from './rows';
import { lateOf } from './steps';

/** dx of a chunk, and sums for dMimoX and dD. */
export function finishInputs(c: BackwardCall): void {
  const rowBytes = c.rowBytes;
  const skip: f32 = c.D == 0 ? 0 : load<f32>(c.D + ((<usize>c.head) << 2));
  const mixes = c.mimoX == 0 ? 0 : c.mimoX + <usize>c.head * c.headOut;
  const skips = c.chunkSums + c.doubleSums;
  let at = c.token * c.xRow + <usize>c.head * c.headBytes;
  let row: usize = 0; // bytes into dV, g and V
  for (let t = 0; t < c.count; t++, at += c.xRow) {
    for (let r: usize = 0; r < <usize>c.nRanks; r++, row += rowBytes) {
      if (c.D != 0) store<f64>(skips, load<f64>(skips) + dotPadded(c.g + row, c.V + row, c.channels));
      const mix = mixes == 0 ? 0 : mixes + r * c.headBytes;
      const mixSum = c.chunkSums + c.mixSums + r * rowBytes;
      finishInput(c.dx + at, c.x + at, c.dV + row, c.g + row, mix, mixSum, skip, c.headDim, r > 0);
    }
  }
}

/** dx = mix (dv + D g), added if `adds`, and mixSum += x (dv + D g), on one row; mix may be 0. */
// prettier-ignore
function finishInput(
  dx: usize, x: usize, dv: usize, g: usize, mix: usize, mixSum: usize, skip: f32, size: i32, adds: bool,
): void {
  const factor = f32x4.splat(skip);
  for (let p = 0; p < size; p += 4) {
    const at = (<usize>p) << 2;
    const rest = size - p;
    let value = madd(factor, v128.load(g + at), v128.load(dv + at));
    if (mix != 0) {
      v128.store(mixSum + at, madd(loadTail(x + at, rest), value, v128.load(mixSum + at)));
      value = f32x4.mul(value, loadTail(mix + at, rest));
    }
    if (adds) value = f32x4.add(value, loadTail(dx + at, rest));
    storeTail(dx + at, value, rest);
  }
}

/** Turns dB' and dC' of a chunk back, and adds them up; and the angles' gradients, from the last step to the first. */
export function finishRows(c: BackwardCall): void {
  const groupAt = <usize>(groupOf(c, c.head) * c.dState) * 4;
  const isFirst = c.head == c.firstHead;
  for (let t = c.count - 1; t >= 0; t--) {
    const step = <usize>(c.steps0 + t);
    const cosines = c.cosines + step * c.angleRow;
    const sines = c.sines + step * c.angleRow;
    const token = c.token + t;
    memory.fill(c.slopes, 0, c.angleRow);
    for (let r: usize = 0; r < <usize>c.nRanks; r++) {
      const row = <usize>(t * c.nRanks) + r;
      const at = token * c.stepOfB + r * c.rankRow + groupAt;
      const bias = c.chunkSums + r * c.stateRow;
      const dB = c.dBs + row * c.gradientRow;
      const dC = c.dCs + row * c.gradientRow;
      turnBack(c, c.slopes, dB, c.Bs + row * c.stateRow, cosines, sines);
      turnBack(c, c.slopes, dC, c.Cs + row * c.stateRow, cosines, sines);
      addRows(c.ownB + at, bias + c.BSums, dB, c.dState, isFirst);
      addRows(c.ownC + at, bias + c.CSums, dC, c.dState, isFirst);
    }
    finishAngles(c, token, step);
  }
}

/** own += row, or own = row if `isFirst`; sums += row, which has whole vectors. */
function addRows(own: usize, sums: usize, row: usize, size: i32, isFirst: bool): void {
  for (; size >= 4; size -= 4, own += 16, sums += 16, row += 16) {
    const value = v128.load(row);
    v128.store(own, isFirst ? value : f32x4.add(value, v128.load(own)));
    v128.store(sums, f32x4.add(value, v128.load(sums)));
  }
  if (size == 0) return;
  const value = loadTail(row, size);
  storeTail(own, isFirst ? value : f32x4.add(value, loadTail(own, size)), size);
  v128.store(sums, f32x4.add(value, v128.load(sums)));
}

/** The gradients of the angles of a step of the head, and of dt through them. */
function finishAngles(c: BackwardCall, token: usize, t: usize): void {
  const turns = c.turns + t * c.angleRow;
  const nAngles = c.nAngles;
  const one = f64x2.splat(1);
  const factor = f64x2.splat(Math.PI * <f64>load<f32>(c.step + (t << 2)));
  const adds = c.angleHeads == 1 && c.head != c.firstHead;
  let out = c.ownAngles + token * c.angleStep;
  if (c.angleHeads != 1) out += <usize>(c.head * nAngles) * 4;
  let total = f64x2.splat(0);
  for (let s = 0; s < nAngles; s += 4) {
    const at = (<usize>s) << 2;
    const sums = c.angleGradient + at * 2;
    const slope = v128.load(c.slopes + at);
    const turn = v128.load(turns + at);
    const low = f64x2.add(v128.load(sums), f64x2.promote_low_f32x4(slope));
    const high = f64x2.add(
      v128.load(sums, 16),
      f64x2.promote_low_f32x4(v128.shuffle<f64>(slope, slope, 1, 1)),
    );
    v128.store(sums, low);
    v128.store(sums, high, 16);
    const turnLow = f64x2.promote_low_f32x4(turn);
    const turnHigh = f64x2.promote_low_f32x4(v128.shuffle<f64>(turn, turn, 1, 1));
    total = f64x2.add(total, f64x2.add(f64x2.mul(low, turnLow), f64x2.mul(high, turnHigh)));
    const dLow = f64x2.mul(f64x2.mul(low, factor), f64x2.sub(one, f64x2.mul(turnLow, turnLow)));
    const dHigh = f64x2.mul(f64x2.mul(high, factor), f64x2.sub(one, f64x2.mul(turnHigh, turnHigh)));
    let value = narrowed(dLow, dHigh);
    if (adds) value = f32x4.add(value, loadTail(out + at, nAngles - s));
    storeTail(out + at, value, nAngles - s);
  }
  const sum = f64x2.extract_lane(total, 0) + f64x2.extract_lane(total, 1);
  store<f32>(c.turnGradients + (t << 2), <f32>(Math.PI * sum));
}

/** Per step of the chunk, the gradients of its log decay and of its weight. */
export function finishWeights(c: BackwardCall): void {
  let row: usize = 0;
  for (let t: usize = 0; t < <usize>c.count; t++) {
    const at = (<usize>c.steps0 + t) << 3;
    store<f64>(c.changes + at, load<f64>(c.change + row * 8));
    let weight: f64 = 0;
    for (let r = 0; r < c.nRanks; r++, row++) weight += load<f64>(c.columns + row * 8);
    store<f64>(c.weightGradients + at, weight);
  }
}

/** Adds the sums of a chunk to the head's. */
export function addChunkSums(c: BackwardCall): void {
  addRow(c.sumsAt, c.chunkSums, <i32>(c.doubleSums >> 2));
  const skips = c.sumsAt + c.doubleSums;
  store<f64>(skips, load<f64>(skips) + load<f64>(c.chunkSums + c.doubleSums));
}

/** The last step's B' and x are handed on. */
export function gradientsOfLast(c: BackwardCall): void {
  if (c.dLastB != 0) {
    const first = <usize>(c.length - c.nRanks);
    let from = c.dLastB + keptAt(c, c.item, c.head);
    for (let r: usize = 0; r < <usize>c.nRanks; r++, from += keptStep(c)) {
      addTo(c.dBs + (first + r) * c.gradientRow, from, c.dState);
    }
  }
  if (c.dLastX != 0) {
    const at = (c.token + c.count - 1) * c.xRow + <usize>c.head * c.headBytes;
    addTo(c.dx + at, c.dLastX + c.index * c.headBytes, c.headDim);
  }
}

/** out += row, of any size. */
export function addTo(out: usize, row: usize, size: i32): void {
  for (; size >= 4; size -= 4, out += 16, row += 16) {
    v128.store(out, f32x4.add(v128.load(row), v128.load(out)));
  }
  storeTail(out, f32x4.add(loadTail(row, size), loadTail(out, size)), size);
}

/** ddt, dA and dtrap of the head. */
export function finishHead(c: BackwardCall): void {
  const start = c.item * c.seqLen * c.headRow + ((<usize>c.head) << 2);
  const bias = c.dtBias == 0 ? f32x4.splat(0) : v128.load32_splat(c.dtBias + ((<usize>c.head) << 2));
  const sums = c.sumsAt + c.doubleSums + 8;
  const rates = c.four + 16;
  const traps = c.four + 32;
  const raws = c.four + 48;
  let stepSum: f64 = 0;
  for (let t = 0; t < c.seqLen; t += 4) {
    const count = min(4, c.seqLen - t);
    for (let i = 0; i < count; i++) stepGradients(c, t + i, (<usize>i) << 2);
    const at = start + <usize>t * c.headRow;
    if (c.dtSoftplus) {
      gatherSteps(raws, c.dt + at, c.headRow, count);
      const raw = f32x4.add(loadTail(raws, count), bias);
      v128.store(c.four, f32x4.mul(v128.load(c.four), sigmoid(raw)));
    }
    if (c.aFloor >= 0) {
      gatherSteps(raws, c.A + at, c.headRow, count);
      v128.store(rates, f32x4.mul(v128.load(rates), rateSlope(loadTail(raws, count), f32x4.splat(c.aFloor))));
    }
    for (let i: usize = 0; i < <usize>count; i++) {
      const to = at + i * c.headRow;
      const step = load<f32>(c.four + (i << 2));
      stepSum += <f64>step;
      store<f32>(c.ddt + to, step);
      store<f32>(c.dA + to, load<f32>(rates + (i << 2)));
      store<f32>(c.dtrap + to, load<f32>(traps + (i << 2)));
    }
  }
  store<f64>(sums, stepSum);
}

/** Gradients of dt, A and trap of a step as the recurrence uses them; `at` bytes into what holds four of each. */
function stepGradients(c: BackwardCall, t: i32, at: usize): void {
  const single = (<usize>t) << 2;
  const double = (<usize>t) << 3;
  const step = <f64>load<f32>(c.step + single);
  const share = <f64>load<f32>(c.share + single);
  const change = load<f64>(c.changes + double);
  const own = load<f64>(c.weightGradients + double) + load<f64>(c.ownGradients + double);
  const late = t == 0 ? <f64>c.firstGradient : load<f64>(c.weightGradients + double - 8);
  const turned = <f64>load<f32>(c.turnGradients + single);
  const rate = <f64>load<f32>(c.rate + single);
  store<f32>(c.four + at, <f32>(rate * change + share * own + (1 - share) * late + turned));
  store<f32>(c.four + 16 + at, <f32>(step * change));
  store<f32>(c.four + 32 + at, <f32>(step * (own - late) * share * (1 - share)));
}

/** The derivative of -max(f(a), floor): -f'(a), f'(a) = 1 from 0 up and 1 / (1 - a)^2 below, and 0 where f(a) < floor. */
function rateSlope(a: v128, floor: v128): v128 {
  const one = f32x4.splat(1);
  const zero = f32x4.splat(0);
  const inverse = f32x4.div(one, f32x4.sub(one, f32x4.min(a, zero)));
  const f = f32x4.mul(f32x4.add(one, f32x4.max(a, zero)), inverse);
  return v128.and(f32x4.neg(f32x4.mul(inverse, inverse)), f32x4.ge(f, floor));
}

/** What goes on from an earlier sequence, dh being the gradient of H before the first step. */
export function gradientsOfInitial(c: BackwardCall, plain: usize): void {
  const row = <usize>c.dState * 4;
  const late = lateOf(c, 0);
  const x = c.initialX + c.index * c.headBytes;
  const dx = c.dInitialX + c.index * c.headBytes;
  let B = c.initialB + keptAt(c, c.item, c.head);
  let dB = c.dInitialB + keptAt(c, c.item, c.head);
  let total: f64 = 0;
  for (let r: usize = 0; r < <usize>c.nRanks; r++, B += keptStep(c), dB += keptStep(c)) {
    const mix = c.mimoX == 0 ? 0 : c.mimoX + <usize>c.head * c.headOut + r * c.headBytes;
    for (let p: usize = 0; p < <usize>c.headDim; p++) {
      const at = p << 2;
      const factor: f32 = mix == 0 ? 1 : load<f32>(mix + at);
      const input = load<f32>(x + at);
      const received = dot(plain + p * row, B, c.dState);
      total += <f64>(input * factor * received);
      store<f32>(dx + at, load<f32>(dx + at) + late * factor * received);
      if (mix != 0) {
        const sum = c.sumsAt + c.mixSums + r * c.rowBytes + at;
        store<f32>(sum, load<f32>(sum) + late * input * received);
      }
      store<f32>(c.factor, late * input * factor);
      addScaledRow(dB, c.factor, plain + p * row, c.dState);
    }
  }
  c.firstGradient = <f32>total;
}
