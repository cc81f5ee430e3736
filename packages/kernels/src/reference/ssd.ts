/**
 * State space duality, the mixer of Mamba-2 (Dao & Gu 2024, sections 3 and 6, arXiv:2405.21060).
 *
 *   x, z, y  [batch, seqLen, nHeads, headDim]      A, dtBias  [nHeads]
 *   dt       [batch, seqLen, nHeads]               D  [nHeads] or [nHeads, headDim]
 *   B, C     [batch, seqLen, nGroups, dState]; head h uses group floor(h / (nHeads / nGroups))
 *   h        [batch, nHeads, headDim, dState]
 *
 * A step has no seqLen.
 */
import type { Array64 } from './array64.js';

interface SsdReferenceArgs {
  x: Array64;
  dt: Array64;
  A: Array64;
  B: Array64;
  C: Array64;
  D?: Array64;
  z?: Array64;
  dtBias?: Array64;
  dtSoftplus?: boolean;
  dtLimit?: readonly [number, number];
}

/** `h[t] = exp(dt[t] A) h[t-1] + dt[t] x[t] B[t]^T`, `y[t] = (C[t] h[t] + D x[t]) silu(z[t])`, head by head. */
export function ssd(args: SsdReferenceArgs & { initialState?: Array64 }): { y: Array64; lastState: Array64 } {
  const { x, dt, B, C, z, initialState } = args;
  const [batch, seqLen, nHeads, headDim] = x.shape;
  const [, , nGroups, dState] = B.shape;
  const size = nHeads * headDim * dState;
  const y = new Float64Array(x.data.length);
  const lastState = initialState?.data.slice() ?? new Float64Array(batch * size);
  for (let b = 0; b < batch; b++) {
    let state: Array64 = {
      shape: [1, nHeads, headDim, dState],
      data: lastState.slice(b * size, (b + 1) * size),
    };
    for (let t = 0; t < seqLen; t++) {
      const token = b * seqLen + t;
      const step = ssdStep({
        ...args,
        state,
        x: at(x, token, [nHeads, headDim]),
        dt: at(dt, token, [nHeads]),
        B: at(B, token, [nGroups, dState]),
        C: at(C, token, [nGroups, dState]),
        z: z && at(z, token, [nHeads, headDim]),
      });
      y.set(step.y.data, token * nHeads * headDim);
      state = step.state;
    }
    lastState.set(state.data, b * size);
  }
  return {
    y: { shape: x.shape, data: y },
    lastState: { shape: [batch, nHeads, headDim, dState], data: lastState },
  };
}

/** One token of a tensor `[batch, seqLen, ...shape]`, as a batch of one. */
function at(array: Array64, token: number, shape: number[]): Array64 {
  const width = shape.reduce((a, b) => a * b, 1);
  return { shape: [1, ...shape], data: array.data.subarray(token * width, (token + 1) * width) };
}

/** One step of {@link ssd}. */
export function ssdStep(args: SsdReferenceArgs & { state: Array64 }): { y: Array64; state: Array64 } {
  const { state, x, dt, A, B, C, D, z, dtBias, dtSoftplus, dtLimit } = args;
  const [batch, nHeads, headDim, dState] = state.shape;
  const nGroups = B.shape[1];
  const y = new Float64Array(x.data.length);
  const next = state.data.slice();
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < nHeads; h++) {
      let step = dt.data[b * nHeads + h] + (dtBias?.data[h] ?? 0);
      if (dtSoftplus) step = Math.max(step, 0) + Math.log1p(Math.exp(-Math.abs(step)));
      if (dtLimit) step = Math.min(Math.max(step, dtLimit[0]), dtLimit[1]);
      const group = Math.floor(h / (nHeads / nGroups));
      const row = (b * nGroups + group) * dState;
      const decay = Math.exp(step * A.data[h]);
      for (let p = 0; p < headDim; p++) {
        const channel = (b * nHeads + h) * headDim + p;
        const input = x.data[channel];
        let sum = D ? input * D.data[D.shape.length === 2 ? h * headDim + p : h] : 0;
        for (let n = 0; n < dState; n++) {
          const i = channel * dState + n;
          next[i] = decay * next[i] + step * input * B.data[row + n];
          sum += C.data[row + n] * next[i];
        }
        y[channel] = z ? (sum * z.data[channel]) / (1 + Math.exp(-z.data[channel])) : sum;
      }
    }
  }
  return { y: { shape: x.shape, data: y }, state: { shape: state.shape, data: next } };
}
