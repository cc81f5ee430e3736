/**
 * Normalisation of rows.
 *
 *   rmsNorm       y = x r w                  r = 1 / sqrt(mean(x^2) + eps)              arXiv:1910.07467
 *   layerNorm     y = (x - mean(x)) r w + b  r = 1 / sqrt(mean((x - mean(x))^2) + eps)  arXiv:1607.06450
 *   gatedRmsNorm  y = rmsNorm(x silu(z)), or with normBeforeGate y = rmsNorm(x) silu(z)  arXiv:2405.21060
 *
 *   y, x, z, dx, dy, dz  [rows, dim]; gated: [rows, groups, dim], one mean per group
 *   weight, bias  [dim]; gated: [groups, dim]. Absent (0): weight 1, bias 0.
 *   scratch  as many bytes as `<kernel>ScratchBytes` says: a backward pass leaves the sums over its rows there, from which
 *            writeColumnSums makes the gradients of weight and bias
 *
 * Sums over a row are float32. A row whose sums overflow (numbers from about 2e19 / sqrt(dim) up) is done again in float64.
 */
export * from './norm/rms-norm';
export * from './norm/layer-norm';
export * from './norm/gated-rms-norm';
export { writeColumnSums } from './norm/sums';
