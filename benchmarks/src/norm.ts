import { type Benchmark, filled, values } from './benchmark.js';

const rows = 2048;
const dim = 768;
const size = rows * dim;
const shape = `[${rows}, ${dim}]`;
const eps = 1e-5;

/** layerNorm, or with `centred` false rmsNorm. */
function plainForward(centred: boolean): () => void {
  const x = values(size);
  const weight = values(dim);
  const bias = values(dim);
  const y = new Float32Array(size);
  return () => {
    for (let start = 0; start < size; start += dim) {
      let mean = 0;
      if (centred) for (let i = 0; i < dim; i++) mean += x[start + i] / dim;
      let squares = 0;
      for (let i = 0; i < dim; i++) squares += (x[start + i] - mean) ** 2;
      const r = 1 / Math.sqrt(squares / dim + eps);
      for (let i = 0; i < dim; i++) {
        y[start + i] = (x[start + i] - mean) * r * weight[i] + (centred ? bias[i] : 0);
      }
    }
  };
}

function plainBackward(centred: boolean): () => void {
  const x = values(size);
  const dy = values(size);
  const weight = values(dim);
  const dx = new Float32Array(size);
  return () => {
    const dweight = new Float32Array(dim);
    const dbias = new Float32Array(dim);
    for (let start = 0; start < size; start += dim) {
      let mean = 0;
      if (centred) for (let i = 0; i < dim; i++) mean += x[start + i] / dim;
      let squares = 0;
      for (let i = 0; i < dim; i++) squares += (x[start + i] - mean) ** 2;
      const r = 1 / Math.sqrt(squares / dim + eps);
      let gradient = 0;
      let dot = 0;
      for (let i = 0; i < dim; i++) {
        const g = dy[start + i] * weight[i];
        const normal = (x[start + i] - mean) * r;
        if (centred) gradient += g / dim;
        dot += (g * normal) / dim;
        dweight[i] += dy[start + i] * normal;
        dbias[i] += dy[start + i];
      }
      for (let i = 0; i < dim; i++) {
        dx[start + i] = r * (dy[start + i] * weight[i] - gradient - (x[start + i] - mean) * r * dot);
      }
    }
  };
}

export const normBenchmarks: Benchmark[] = [
  {
    op: 'rmsNorm',
    pass: 'forward',
    shape,
    quick: true,
    elements: size,
    bytes: 8 * size,
    prepare(k) {
      const args = { x: filled(k, [rows, dim]), weight: filled(k, [dim]) };
      return () => k.rmsNorm(args).dispose();
    },
    plain: () => plainForward(false),
  },
  {
    op: 'rmsNorm',
    pass: 'backward',
    shape,
    quick: false,
    elements: size,
    bytes: 12 * size,
    prepare(k) {
      const args = { x: filled(k, [rows, dim]), weight: filled(k, [dim]), dy: filled(k, [rows, dim]) };
      return () => {
        const { dx, dweight } = k.rmsNormBackward(args);
        dx.dispose();
        dweight!.dispose();
      };
    },
    plain: () => plainBackward(false),
  },
  {
    op: 'layerNorm',
    pass: 'forward',
    shape,
    quick: false,
    elements: size,
    bytes: 8 * size,
    prepare(k) {
      const args = { x: filled(k, [rows, dim]), weight: filled(k, [dim]), bias: filled(k, [dim]) };
      return () => k.layerNorm(args).dispose();
    },
    plain: () => plainForward(true),
  },
  {
    op: 'layerNorm',
    pass: 'backward',
    shape,
    quick: false,
    elements: size,
    bytes: 12 * size,
    prepare(k) {
      const args = { x: filled(k, [rows, dim]), weight: filled(k, [dim]), bias: filled(k, [dim]) };
      const dy = filled(k, [rows, dim]);
      return () => {
        const { dx, dweight, dbias } = k.layerNormBackward({ ...args, dy });
        dx.dispose();
        dweight!.dispose();
        dbias!.dispose();
      };
    },
    plain: () => plainBackward(true),
  },
  {
    op: 'gatedRmsNorm',
    pass: 'forward',
    shape,
    quick: false,
    elements: size,
    bytes: 12 * size,
    prepare(k) {
      const args = { x: filled(k, [rows, dim]), z: filled(k, [rows, dim]), weight: filled(k, [dim]) };
      return () => k.gatedRmsNorm(args).dispose();
    },
  },
  {
    op: 'gatedRmsNorm',
    pass: 'backward',
    shape,
    quick: false,
    elements: size,
    bytes: 20 * size,
    prepare(k) {
      const args = { x: filled(k, [rows, dim]), z: filled(k, [rows, dim]), weight: filled(k, [dim]) };
      const dy = filled(k, [rows, dim]);
      return () => {
        const { dx, dz, dweight } = k.gatedRmsNormBackward({ ...args, dy });
        dx.dispose();
        dz.dispose();
        dweight!.dispose();
      };
    },
  },
];
