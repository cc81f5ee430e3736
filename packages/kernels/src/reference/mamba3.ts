/**
 * Mamba-3's state space (https://github.com/state-spaces/mamba): discretised by the exponential-trapezoidal rule, with
 * planes of B and C that turn by angles which depend on the input.
 *
 *   x         [batch, seqLen, nHeads, headDim]
 *   dt, A, trap  [batch, seqLen, nHeads]
 *   B, C      [batch, seqLen, nRanks, nGroups, dState]; head h uses group floor(h / (nHeads / nGroups))
 *   angles    [batch, seqLen, nHeads, nAngles], or [batch, seqLen, 1, nAngles] if all heads share them
 *   BBias, CBias  [nHeads, nRanks, dState]      mimoX  [nHeads, nRanks, headDim]      D, dtBias  [nHeads]
 *
 * A step has no seqLen. From one step to the next go
 *
 *   angle  [batch, nHeads, nAngles]             state  [batch, nHeads, headDim, dState]
 *   lastB  [batch, nRanks, nHeads, dState]      lastX  [batch, nHeads, headDim]
 */
import type { Array64 } from './array64.js';

interface Mamba3Options {
  x: Array64;
  dt: Array64;
  A: Array64;
  trap: Array64;
  B: Array64;
  C: Array64;
  angles: Array64;
  BBias?: Array64;
  CBias?: Array64;
  D?: Array64;
  mimoX?: Array64;
  dtBias?: Array64;
  dtSoftplus?: boolean;
  aFloor?: number;
  convention?: 'interleaved' | 'half';
}

interface Carried {
  angle: Array64;
  state: Array64;
  lastB: Array64;
  lastX: Array64;
}

const zeros = (shape: number[]): Array64 => ({
  shape,
  data: new Float64Array(shape.reduce((a, b) => a * b, 1)),
});

/** Item b of a batch, as a batch of one. */
function item({ shape, data }: Array64, b: number): Array64 {
  const width = data.length / shape[0];
  return { shape: [1, ...shape.slice(1)], data: data.slice(b * width, (b + 1) * width) };
}

/**
 * With `l = sigmoid(trap)`, `v[r] = x mimoX[r]`, and B', C' after bias and rotation by `angle[t] = angle[t-1] + pi
 * tanh(angles[t]) dt[t]`, of each head:
 *
 *   h[t] = a h[t-1] + (1 - l) dt a sum_r v[t-1, r] B'[t-1, r]^T + l dt sum_r v[t, r] B'[t, r]^T,   a = exp(dt[t] A[t])
 *   y[t, r] = h[t] C'[t, r] + D v[t, r]
 */
export function mamba3(
  args: Mamba3Options & {
    initialAngle?: Array64;
    initialState?: Array64;
    initialB?: Array64;
    initialX?: Array64;
  },
): { y: Array64; lastAngle: Array64; lastState: Array64; lastB: Array64; lastX: Array64 } {
  const { x, dt, A, trap, B, C, angles, initialAngle, initialState, initialB, initialX } = args;
  const [batch, seqLen, nHeads, headDim] = x.shape;
  const [, , nRanks, , dState] = B.shape;
  const nAngles = angles.shape[3];
  const y = zeros([batch, seqLen, nHeads, nRanks, headDim]);
  const last = {
    angle: initialAngle ?? zeros([batch, nHeads, nAngles]),
    state: initialState ?? zeros([batch, nHeads, headDim, dState]),
    lastB: initialB ?? zeros([batch, nRanks, nHeads, dState]),
    lastX: initialX ?? zeros([batch, nHeads, headDim]),
  };
  const ends = {
    angle: zeros(last.angle.shape as number[]),
    state: zeros(last.state.shape as number[]),
    lastB: zeros(last.lastB.shape as number[]),
    lastX: zeros(last.lastX.shape as number[]),
  };
  for (let b = 0; b < batch; b++) {
    let carried: Carried = {
      angle: item(last.angle, b),
      state: item(last.state, b),
      lastB: item(last.lastB, b),
      lastX: item(last.lastX, b),
    };
    for (let t = 0; t < seqLen; t++) {
      const at = (array: Array64): Array64 => token(array, b * seqLen + t);
      const step = mamba3Step({
        ...args,
        ...carried,
        x: at(x),
        dt: at(dt),
        A: at(A),
        trap: at(trap),
        B: at(B),
        C: at(C),
        angles: at(angles),
      });
      y.data.set(step.y.data, (b * seqLen + t) * step.y.data.length);
      carried = step;
    }
    for (const name of ['angle', 'state', 'lastB', 'lastX'] as const) {
      ends[name].data.set(carried[name].data, b * carried[name].data.length);
    }
  }
  return { y, lastAngle: ends.angle, lastState: ends.state, lastB: ends.lastB, lastX: ends.lastX };
}

/** One token of a tensor `[batch, seqLen, ...shape]`, as a batch of one. */
function token({ shape, data }: Array64, index: number): Array64 {
  const width = data.length / shape[0] / shape[1];
  return { shape: [1, ...shape.slice(2)], data: data.subarray(index * width, (index + 1) * width) };
}

const sigmoid = (value: number): number => 1 / (1 + Math.exp(-value));
const softplus = (value: number): number => Math.max(value, 0) + Math.log1p(Math.exp(-Math.abs(value)));

/** The decay rate that is used: `A` itself, or with `aFloor` `-max(f(A), aFloor)`, f(a) = 1 + a above 0, else 1 / (1 - a). */
const rateOf = (A: number, aFloor?: number): number =>
  aFloor === undefined ? A : -Math.max(A >= 0 ? 1 + A : 1 / (1 - A), aFloor);

/** One step of {@link mamba3}. */
export function mamba3Step(args: Mamba3Options & Carried): Carried & { y: Array64 } {
  const { x, dt, A, trap, B, C, angles, BBias, CBias, D, mimoX, dtBias, dtSoftplus, aFloor } = args;
  const [batch, nHeads, headDim] = x.shape;
  const [, nRanks, nGroups, dState] = B.shape;
  const nAngles = angles.shape[2];
  const y = zeros([batch, nHeads, nRanks, headDim]);
  const copy = ({ shape, data }: Array64): Array64 => ({ shape, data: data.slice() });
  const [angle, state, lastB, lastX] = [args.angle, args.state, args.lastB, args.lastX].map(copy);
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < nHeads; h++) {
      const head = b * nHeads + h;
      const raw = dt.data[head] + (dtBias?.data[h] ?? 0);
      const step = dtSoftplus ? softplus(raw) : raw;
      const decay = Math.exp(step * rateOf(A.data[head], aFloor));
      const share = sigmoid(trap.data[head]);
      const turns = (b * angles.shape[1] + (angles.shape[1] === 1 ? 0 : h)) * nAngles;
      const now = angle.data.subarray(head * nAngles, (head + 1) * nAngles);
      for (let s = 0; s < nAngles; s++) {
        now[s] += Math.PI * Math.tanh(angles.data[turns + s]) * step;
        now[s] -= 2 * Math.PI * Math.round(now[s] / (2 * Math.PI));
      }
      const group = Math.floor(h / (nHeads / nGroups));
      const row = (array: Array64, bias: Array64 | undefined, r: number): Float64Array => {
        const at = ((b * nRanks + r) * nGroups + group) * dState;
        const biasAt = (h * nRanks + r) * dState;
        const values = Float64Array.from(
          { length: dState },
          (_, n) => array.data[at + n] + (bias?.data[biasAt + n] ?? 0),
        );
        return turned(values, now, args.convention ?? 'interleaved');
      };
      const mixed = (r: number, p: number): number => mimoX?.data[(h * nRanks + r) * headDim + p] ?? 1;
      const own = state.data.subarray(head * headDim * dState, (head + 1) * headDim * dState);
      const input = x.data.subarray(head * headDim, (head + 1) * headDim);
      const before = lastX.data.subarray(head * headDim, (head + 1) * headDim);
      for (let i = 0; i < own.length; i++) own[i] *= decay;
      for (let r = 0; r < nRanks; r++) {
        const Bs = row(B, BBias, r);
        const kept = lastB.data.subarray(((b * nRanks + r) * nHeads + h) * dState).subarray(0, dState);
        for (let p = 0; p < headDim; p++) {
          const old = (1 - share) * step * decay * before[p] * mixed(r, p);
          const fresh = share * step * input[p] * mixed(r, p);
          for (let n = 0; n < dState; n++) own[p * dState + n] += old * kept[n] + fresh * Bs[n];
        }
        kept.set(Bs);
      }
      before.set(input);
      for (let r = 0; r < nRanks; r++) {
        const Cs = row(C, CBias, r);
        for (let p = 0; p < headDim; p++) {
          let sum = (D?.data[h] ?? 0) * input[p] * mixed(r, p);
          for (let n = 0; n < dState; n++) sum += own[p * dState + n] * Cs[n];
          y.data[(head * nRanks + r) * headDim + p] = sum;
        }
      }
    }
  }
  return { y, angle, state, lastB, lastX };
}

/** Plane s of a row turned by angle s. */
function turned(row: Float64Array, angles: Float64Array, convention: 'interleaved' | 'half'): Float64Array {
  angles.forEach((angle, s) => {
    const [i, j] = convention === 'half' ? [s, s + row.length / 2] : [2 * s, 2 * s + 1];
    const [a, b] = [row[i], row[j]];
    row[i] = a * Math.cos(angle) - b * Math.sin(angle);
    row[j] = a * Math.sin(angle) + b * Math.cos(angle);
  });
  return row;
}
