/**
 * Norms over the last axis: RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467), LayerNorm (Ba et al. 2016,
 * arXiv:1607.06450), and RMSNorm with a gate as in Mamba-2 (Dao & Gu 2024, section 7, arXiv:2405.21060).
 *
 *   x, y, z  [..., dim]      weight, bias  [dim]
 */
import type { Array64 } from './array64.js';

interface NormArgs {
  x: Array64;
  weight?: Array64;
  eps?: number;
}

/** `y = x / sqrt(mean(x^2) + eps) weight` */
export function rmsNorm({ x, weight, eps = 1e-5 }: NormArgs): Array64 {
  const dim = x.shape.at(-1)!;
  const data = new Float64Array(x.data.length);
  for (let start = 0; start < data.length; start += dim) {
    let squares = 0;
    for (let i = 0; i < dim; i++) squares += x.data[start + i] ** 2;
    const scale = 1 / Math.sqrt(squares / dim + eps);
    for (let i = 0; i < dim; i++) data[start + i] = x.data[start + i] * scale * (weight?.data[i] ?? 1);
  }
  return { shape: x.shape, data };
}

/** `y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) weight + bias` */
export function layerNorm({ x, weight, bias, eps = 1e-5 }: NormArgs & { bias?: Array64 }): Array64 {
  const dim = x.shape.at(-1)!;
  const data = new Float64Array(x.data.length);
  for (let start = 0; start < data.length; start += dim) {
    let mean = 0;
    for (let i = 0; i < dim; i++) mean += x.data[start + i] / dim;
    let variance = 0;
    for (let i = 0; i < dim; i++) variance += (x.data[start + i] - mean) ** 2 / dim;
    const scale = 1 / Math.sqrt(variance + eps);
    for (let i = 0; i < dim; i++) {
      const normal = (x.data[start + i] - mean) * scale;
      data[start + i] = normal * (weight?.data[i] ?? 1) + (bias?.data[i] ?? 0);
    }
  }
  return { shape: x.shape, data };
}

/** `y = rmsNorm(x silu(z)) weight`, or `y = rmsNorm(x) weight silu(z)`; a mean for each of `groups` parts of a row */
export function gatedRmsNorm({
  x,
  z,
  weight,
  eps = 1e-5,
  groups = 1,
  normBeforeGate = false,
}: NormArgs & { z: Array64; groups?: number; normBeforeGate?: boolean }): Array64 {
  const dim = x.shape.at(-1)!;
  const width = dim / groups;
  const gate = z.data.map((value) => value / (1 + Math.exp(-value)));
  const data = new Float64Array(x.data.length);
  for (let start = 0; start < data.length; start += width) {
    const value = (i: number) => x.data[i] * (normBeforeGate ? 1 : gate[i]);
    let squares = 0;
    for (let i = start; i < start + width; i++) squares += value(i) ** 2;
    const scale = 1 / Math.sqrt(squares / width + eps);
    for (let i = start; i < start + width; i++) {
      data[i] = value(i) * scale * (weight?.data[i % dim] ?? 1) * (normBeforeGate ? gate[i] : 1);
    }
  }
  return { shape: x.shape, data };
}
