import type { WeightDType } from '@freelunch/kernels';
import { type Benchmark, filled, values } from './benchmark.js';

/** y = a b, or a b^T, as a user would write it; `a` [m, k]. */
function plainMatmul(a: Float32Array, b: Float32Array, m: number, n: number, k: number, transposeB: boolean) {
  const y = new Float32Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let total = 0;
      for (let p = 0; p < k; p++) total += a[i * k + p] * b[transposeB ? j * k + p : p * n + j];
      y[i * n + j] = total;
    }
  }
  return y;
}

const forward = (m: number, n: number, k: number, quick: boolean): Benchmark => ({
  op: 'matmul',
  pass: 'forward',
  shape: `[${m}, ${k}] x [${k}, ${n}]`,
  quick,
  flops: 2 * m * n * k,
  prepare(kernels) {
    const a = filled(kernels, [m, k]);
    const b = filled(kernels, [k, n]);
    return () => kernels.matmul({ a, b }).dispose();
  },
  plain() {
    const a = values(m * k);
    const b = values(k * n);
    return () => plainMatmul(a, b, m, n, k, false);
  },
});

const backward = (m: number, n: number, k: number): Benchmark => ({
  op: 'matmul',
  pass: 'backward',
  shape: `[${m}, ${k}] x [${k}, ${n}]`,
  quick: false,
  flops: 4 * m * n * k,
  prepare(kernels) {
    const a = filled(kernels, [m, k]);
    const b = filled(kernels, [k, n]);
    const dy = filled(kernels, [m, n]);
    return () => {
      const { da, db } = kernels.matmulBackward({ a, b, dy });
      da.dispose();
      db.dispose();
    };
  },
  plain() {
    const a = values(m * k);
    const b = values(k * n);
    const dy = values(m * n);
    return () => {
      plainMatmul(dy, b, m, k, n, true);
      const db = new Float32Array(k * n);
      for (let i = 0; i < m; i++)
        for (let p = 0; p < k; p++) for (let j = 0; j < n; j++) db[p * n + j] += a[i * k + p] * dy[i * n + j];
    };
  },
});

/** One token through a layer: the weight is read once, so memory is the limit. */
const decode = (n: number, k: number): Benchmark => ({
  op: 'matmul',
  pass: 'step',
  shape: `[1, ${k}] x [${n}, ${k}]^T`,
  quick: false,
  flops: 2 * n * k,
  bytes: 4 * (n * k + n + k),
  prepare(kernels) {
    const a = filled(kernels, [1, k]);
    const b = filled(kernels, [n, k]);
    return () => kernels.matmul({ a, b, transposeB: true }).dispose();
  },
  plain() {
    const a = values(k);
    const b = values(n * k);
    return () => plainMatmul(a, b, 1, n, k, true);
  },
});

/** A prompt through a layer. */
const prompt = (m: number, n: number, k: number): Benchmark => ({
  op: 'matmul',
  pass: 'forward',
  shape: `[${m}, ${k}] x [${n}, ${k}]^T`,
  quick: false,
  flops: 2 * m * n * k,
  prepare(kernels) {
    const a = filled(kernels, [m, k]);
    const b = filled(kernels, [n, k]);
    return () => kernels.matmul({ a, b, transposeB: true }).dispose();
  },
});

const dtypes: readonly WeightDType[] = ['float16', 'bfloat16', 'int8', 'int4'];

/** The same with weights in less room: the bytes are those of the weights, a and y. */
const quantised = (m: number, n: number, k: number, dtype: WeightDType): Benchmark => ({
  op: 'matmul',
  pass: m === 1 ? 'step' : 'forward',
  shape: `[${m}, ${k}] x [${n}, ${k}]^T ${dtype}`,
  quick: false,
  flops: 2 * m * n * k,
  bytes: m === 1 ? n * k * weightBytes[dtype] + 4 * (n + k) : undefined,
  prepare(kernels) {
    const a = filled(kernels, [m, k]);
    const b = kernels.scope(() => kernels.quantize({ x: filled(kernels, [n, k]), dtype }));
    return () => kernels.matmul({ a, b, transposeB: true }).dispose();
  },
});

const weightBytes: Record<WeightDType, number> = {
  float16: 2,
  bfloat16: 2,
  int8: 34 / 32,
  int4: 18 / 32,
};

/** Weights of mamba-130m: the input projection, the output projection, the projection to dt, B and C, the head. */
const layers = [
  [3072, 768],
  [768, 1536],
  [80, 1536],
  [50280, 768],
];

export const matmulBenchmarks: Benchmark[] = [
  forward(64, 64, 64, true),
  forward(256, 256, 256, true),
  forward(512, 512, 512, true),
  forward(128, 256, 1024, false),
  backward(256, 256, 256),
  ...layers.flatMap(([n, k]) => [decode(n, k), ...dtypes.map((dtype) => quantised(1, n, k, dtype))]),
  prompt(512, 3072, 768),
  ...dtypes.map((dtype) => quantised(512, 3072, 768, dtype)),
];
