/**
 * Selective scan, the recurrence of Mamba (Gu & Dao 2023, algorithm 2, arXiv:2312.00752).
 *
 *   u, delta, z, y  [batch, seqLen, dInner]      A  [dInner, dState]      D, deltaBias  [dInner]
 *   B, C            [batch, seqLen, dState], [batch, seqLen, nGroups, dState] or [dInner, dState]
 *   h               [batch, dInner, dState]
 *
 * A step has no seqLen.
 */
import type { Array64 } from './array64.js';

interface SelectiveScanArgs {
  u: Array64;
  delta: Array64;
  A: Array64;
  B: Array64;
  C: Array64;
  D?: Array64;
  z?: Array64;
  deltaBias?: Array64;
  deltaSoftplus?: boolean;
  initialState?: Array64;
}

const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const silu = (x: number) => x / (1 + Math.exp(-x));

/** Reads B or C, of whatever kind, at `[b, t, d, n]`. */
function reader(X: Array64, dInner: number): (b: number, t: number, d: number, n: number) => number {
  const { shape, data } = X;
  const dState = shape[shape.length - 1];
  if (shape.length === 2) return (_b, _t, d, n) => data[d * dState + n];
  const seqLen = shape[1];
  const nGroups = shape.length === 4 ? shape[2] : 1;
  return (b, t, d, n) => {
    const group = Math.floor(d / (dInner / nGroups));
    return data[((b * seqLen + t) * nGroups + group) * dState + n];
  };
}

/**
 * `h = exp(delta A) h + delta u B`, `y = (C . h + D u) silu(z)`, where delta is first
 * `softplus(delta + deltaBias)` if so asked.
 */
export function selectiveScan(args: SelectiveScanArgs): { y: Array64; lastState: Array64 } {
  const { u, A, D, z, deltaBias, initialState } = args;
  const [batch, seqLen, dInner] = u.shape;
  const dState = A.shape[1];
  const readB = reader(args.B, dInner);
  const readC = reader(args.C, dInner);
  const y = new Float64Array(u.data.length);
  const h = new Float64Array(batch * dInner * dState);
  if (initialState !== undefined) h.set(initialState.data);
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < seqLen; t++) {
      for (let d = 0; d < dInner; d++) {
        const i = (b * seqLen + t) * dInner + d;
        let delta = args.delta.data[i];
        if (deltaBias !== undefined) delta += deltaBias.data[d];
        if (args.deltaSoftplus) delta = softplus(delta);
        let sum = 0;
        for (let n = 0; n < dState; n++) {
          const j = (b * dInner + d) * dState + n;
          const decay = Math.exp(delta * A.data[d * dState + n]);
          h[j] = decay * h[j] + delta * u.data[i] * readB(b, t, d, n);
          sum += readC(b, t, d, n) * h[j];
        }
        if (D !== undefined) sum += D.data[d] * u.data[i];
        if (z !== undefined) sum *= silu(z.data[i]);
        y[i] = sum;
      }
    }
  }
  return { y: { shape: u.shape, data: y }, lastState: { shape: [batch, dInner, dState], data: h } };
}

/** The same array with an axis of time, of one step. */
const oneStep = (x: Array64): Array64 => ({ shape: [x.shape[0], 1, ...x.shape.slice(1)], data: x.data });

/** One step of {@link selectiveScan}: `u`, `delta`, `z` without seqLen, and the state given and returned. */
export function selectiveScanStep({
  state,
  u,
  delta,
  B,
  C,
  z,
  ...rest
}: Omit<SelectiveScanArgs, 'initialState'> & { state: Array64 }): { y: Array64; state: Array64 } {
  const [batch, dInner] = u.shape;
  const dState = state.shape[2];
  // [batch, dState] is one row for each sequence; where batch = dInner, it wins over the constant [dInner, dState].
  const isConstant = (X: Array64) => X.shape.length === 2 && X.shape[0] !== batch && X.shape[0] === dInner;
  const { y, lastState } = selectiveScan({
    ...rest,
    u: oneStep(u),
    delta: oneStep(delta),
    B: isConstant(B) ? B : oneStep(B),
    C: isConstant(C) ? C : oneStep(C),
    z: z && oneStep(z),
    initialState: { shape: [batch, dInner, dState], data: state.data },
  });
  return { y: { shape: u.shape, data: y.data }, state: lastState };
}
