/**
 * The state space of Mamba-3 (https://github.com/state-spaces/mamba), head by head. With a[t] = exp(dt[t] A[t]),
 * l = sigmoid(trap), v[t, r] = x[t] mimoX[r], and B', C' after bias and rotation:
 *
 *   th[t]   = th[t-1] + pi tanh(angles[t]) dt[t]
 *   h[t]    = a[t] h[t-1] + (1 - l[t]) dt[t] a[t] sum_r v[t-1, r] B'[t-1, r]^T + l[t] dt[t] sum_r v[t, r] B'[t, r]^T
 *   y[t, r] = h[t] C'[t, r] + D v[t, r]
 *
 *   y       [batch, seqLen, nHeads, nRanks, headDim]     x       [batch, seqLen, nHeads, headDim]
 *   dt, A, trap  [batch, seqLen, nHeads]                 B, C    [batch, seqLen, nRanks, nGroups, dState]
 *   angles  [batch, seqLen, angleHeads, nAngles], angleHeads 1 or nHeads
 *   BBias, CBias  [nHeads, nRanks, dState]               mimoX   [nHeads, nRanks, headDim]      D, dtBias  [nHeads]
 *
 * and from one sequence to the next angle [batch, nHeads, nAngles], state [batch, nHeads, headDim, dState], B' of the last
 * step [batch, nRanks, nHeads, dState] and its x [batch, nHeads, headDim].
 *
 * B' is B + BBias with plane s turned by th[s]: channels (2 s, 2 s + 1), or with `half` (s, s + dState / 2). dt passes bias
 * and, if dtSoftplus, softplus. With aFloor from 0 up, A is -max(f(A), aFloor), f(a) = 1 + a from 0 up, 1 / (1 - a) below.
 * BBias, CBias, D, mimoX, dtBias and all that comes from an earlier sequence may be 0. mimoX is there if nRanks > 1.
 *
 * The chunked form. The input of a step enters the state again one step later, so let H be the state with that already
 * in it: with w[t] = l[t] dt[t] + (1 - l[t+1]) dt[t+1],
 *
 *   H[t] = a[t] H[t-1] + w[t] sum_r v[t, r] B'[t, r]^T
 *
 * which is the recurrence of SSD (ssd.ts) with other weights, and with s as there,
 *
 *   y[i] = exp(s[i]) C'[i] H0 + sum_{j < i} exp(s[i] - s[j]) w[j] (C'[i].B'[j]) v[j] + l[i] dt[i] (C'[i].B'[i]) v[i] + D v[i]
 *
 * At the end of a sequence w[t] = l[t] dt[t], so that H is h. The ranks of a step are rows of their own, one after the
 * other: all rows of a step see each other, and only the first has a decay.
 */
export { mamba3ChunkedForward, mamba3ChunkedForwardScratchBytes } from './mamba3/forward';
export {
  mamba3ChunkedBackward,
  mamba3ChunkedBackwardScratchBytes,
  mamba3ChunkedBackwardSharedBytes,
} from './mamba3/backward';
export { mamba3RecurrentForward, mamba3RecurrentForwardScratchBytes } from './mamba3/recurrent';
export { mamba3MatrixForward, mamba3MatrixForwardScratchBytes } from './mamba3/matrix';
