/**
 * State space duality, the mixer of Mamba-2 (Dao & Gu 2024, arXiv:2405.21060), head by head:
 *
 *   h[t] = exp(dt[t] A) h[t-1] + dt[t] x[t] B[t]^T
 *   y[t] = (C[t] h[t] + D x[t]) silu(z[t])
 *
 *   y, x, z  [batch, seqLen, nHeads, headDim]     h     [batch, nHeads, headDim, dState]
 *   B, C     [batch, seqLen, nGroups, dState]     D     [nHeads], or [nHeads, headDim] if skipByChannel
 *   dt       [batch, seqLen, nHeads]              A, dtBias  [nHeads]
 *
 * dt passes bias, softplus (if dtSoftplus) and the limits [dtMin, dtMax], in this order. nGroups divides nHeads. D, z,
 * dtBias and initialState may be 0. The chunked functions are given working memory, of as many bytes as
 * `...ScratchBytes` says.
 *
 * The chunked form (section 6 of the paper): with s[i] the sum of dt A from the start of a chunk to step i, and
 * X[j] = dt[j] x[j],
 *
 *   y[i]  = exp(s[i]) C[i] h0 + sum_{j <= i} exp(s[i] - s[j]) (C[i].B[j]) X[j]
 *   h_end = exp(s_end) h0     + sum_j exp(s_end - s[j]) B[j] X[j]^T
 *
 * s is in double precision: its differences over a chunk then keep all digits that a float has. Nothing is divided by
 * a decay. C.B is the same for all heads of a group and computed once.
 *
 * All products of matrices go through one register tile, whose operands are packed into panels and padded with zeros,
 * so that the tile knows no remainders. The state lies in panels of 8 channels: [headDim / 8][dState][8].
 */
export { ssdChunkedForward, ssdChunkedForwardScratchBytes } from './ssd/forward';
export {
  ssdChunkedBackward,
  ssdChunkedBackwardScratchBytes,
  ssdChunkedBackwardSharedBytes,
} from './ssd/backward';
export { ssdMatrixForward, ssdMatrixForwardScratchBytes } from './ssd/matrix';
export { ssdRecurrentForward, ssdStep } from './ssd/recurrent';
