/** Step sizes, decay rates and weights of a head. */
import { loadTail, sigmoid, softplus } from '../simd';
import { gatherSteps } from '../ssd/decays';
import { Mamba3Call } from './call';

/** dt, A and l of a head for `count` steps from `token` on, a step of the batch. */
export function headSteps(c: Mamba3Call, token: usize, head: i32, count: i32): void {
  const at = token * c.headRow + ((<usize>head) << 2);
  gatherSteps(c.step, c.dt + at, c.headRow, count);
  gatherSteps(c.rate, c.A + at, c.headRow, count);
  gatherSteps(c.share, c.trap + at, c.headRow, count);
  const bias = c.dtBias == 0 ? f32x4.splat(0) : v128.load32_splat(c.dtBias + ((<usize>head) << 2));
  for (let i = 0; i < count; i += 4) {
    const offset = (<usize>i) << 2;
    const rest = count - i;
    let step = loadTail(c.step + offset, rest);
    if (c.dtBias != 0) step = f32x4.add(step, bias);
    if (c.dtSoftplus) step = softplus(step);
    const share = sigmoid(loadTail(c.share + offset, rest));
    v128.store(c.step + offset, step);
    v128.store(c.share + offset, share);
    v128.store(c.own + offset, f32x4.mul(share, step));
    if (c.aFloor >= 0) {
      v128.store(c.rate + offset, rateOf(loadTail(c.rate + offset, rest), f32x4.splat(c.aFloor)));
    }
  }
}

/** -max(f(a), floor): f(a) = (1 + max(a, 0)) / (1 - min(a, 0)). */
function rateOf(a: v128, floor: v128): v128 {
  const zero = f32x4.splat(0);
  const one = f32x4.splat(1);
  const f = f32x4.div(f32x4.add(one, f32x4.max(a, zero)), f32x4.sub(one, f32x4.min(a, zero)));
  return f32x4.neg(f32x4.max(f, floor));
}

/** (1 - l) dt of a step, `at` bytes into the arrays. */
export function lateOf(c: Mamba3Call, at: usize): f32 {
  return (<f32>1 - load<f32>(c.share + at)) * load<f32>(c.step + at);
}

/** w of so many steps, of which the last is the end of the sequence, or is followed by one more. */
export function stepWeights(c: Mamba3Call, count: i32, isEnd: bool): void {
  for (let i = 0; i < count; i++) {
    const at = (<usize>i) << 2;
    const own = load<f32>(c.own + at);
    store<f32>(c.weight + at, isEnd && i == count - 1 ? own : own + lateOf(c, at + 4));
  }
}

/** The numbers of so many steps as those of their rows, `first` steps from the start of the arrays. */
export function rowsOfSteps(c: Mamba3Call, first: i32, count: i32): void {
  const at = (<usize>first) << 2;
  if (c.nRanks == 1) {
    c.stepOfRow = c.step + at;
    c.rateOfRow = c.rate + at;
    c.ownOfRow = c.own + at;
    c.weightOfRow = c.weight + at;
    return;
  }
  const row = c.pairRow;
  c.stepOfRow = c.spreadSteps;
  c.rateOfRow = c.stepOfRow + row;
  c.ownOfRow = c.rateOfRow + row;
  c.weightOfRow = c.ownOfRow + row;
  spread(c.stepOfRow, c.step + at, count, c.nRanks);
  // Only the first row of a step decays.
  for (let i = 0; i < count * c.nRanks; i++) {
    if (i % c.nRanks != 0) store<f32>(c.stepOfRow + ((<usize>i) << 2), 0);
  }
  spread(c.rateOfRow, c.rate + at, count, c.nRanks);
  spread(c.ownOfRow, c.own + at, count, c.nRanks);
  spread(c.weightOfRow, c.weight + at, count, c.nRanks);
}

/** Each number `ranks` times. */
function spread(out: usize, from: usize, count: i32, ranks: i32): void {
  for (; count > 0; count--, from += 4) {
    for (let r = 0; r < ranks; r++, out += 4) store<f32>(out, load<f32>(from));
  }
}
