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

export const matmulBenchmarks: Benchmark[] = [
  forward(64, 64, 64, true),
  forward(256, 256, 256, true),
  forward(512, 512, 512, true),
  forward(128, 256, 1024, false),
  backward(256, 256, 256),
  decode(3072, 768),
];
