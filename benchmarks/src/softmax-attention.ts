import type { Kernels, Tensor } from '@freelunch/kernels';
import { type Benchmark, filled, values } from './benchmark.js';

const nHeads = 8;
const headDim = 64;
const inputShape = (seqLen: number) => [1, seqLen, nHeads, headDim];

type Options = Omit<Parameters<Kernels['softmaxAttention']>[0], 'q' | 'k' | 'v'>;

/** Scores that causal queries see, of one head, with the last `window` keys visible. */
function visible(seqLen: number, window = seqLen): number {
  const full = Math.max(0, seqLen - window);
  const first = seqLen - full;
  return (first * (first + 1)) / 2 + full * window;
}

/** Of the strided pattern: the window, and a key of each earlier stride. */
function visibleStrided(seqLen: number, stride: number): number {
  let count = visible(seqLen, stride);
  for (let t = 0; t < seqLen; t++) count += Math.floor(t / stride);
  return count;
}

/** Of the fixed pattern: the keys of the own block so far, and `summary` of each earlier block. */
function visibleFixed(seqLen: number, stride: number, summary: number): number {
  let count = 0;
  for (let t = 0; t < seqLen; t++) count += (t % stride) + 1 + summary * Math.floor(t / stride);
  return count;
}

/** Two products a visible score forward (q k and p v), five backward; a multiply and an add count two. */
const flopsOf = (scores: number, products: number) => nHeads * scores * products * 2 * headDim;

function inputs(k: Kernels, seqLen: number): { q: Tensor; k: Tensor; v: Tensor } {
  const shape = inputShape(seqLen);
  return { q: filled(k, shape), k: filled(k, shape), v: filled(k, shape) };
}

/** The loop of the definition: a row of scores, its softmax, its values. */
function plainForward(seqLen: number, window = seqLen): () => void {
  const row = nHeads * headDim;
  const [q, k, v] = [0, 1, 2].map(() => values(seqLen * row));
  const o = new Float32Array(seqLen * row);
  const p = new Float32Array(seqLen);
  const scale = 1 / Math.sqrt(headDim);
  return () => {
    for (let h = 0; h < nHeads; h++) {
      for (let t = 0; t < seqLen; t++) {
        const at = t * row + h * headDim;
        const first = Math.max(0, t - window + 1);
        let max = -Infinity;
        for (let j = first; j <= t; j++) {
          let score = 0;
          for (let d = 0; d < headDim; d++) score += q[at + d] * k[j * row + h * headDim + d];
          p[j] = score * scale;
          max = Math.max(max, p[j]);
        }
        let total = 0;
        for (let j = first; j <= t; j++) {
          p[j] = Math.exp(p[j] - max);
          total += p[j];
        }
        for (let d = 0; d < headDim; d++) o[at + d] = 0;
        for (let j = first; j <= t; j++) {
          const weight = p[j] / total;
          for (let d = 0; d < headDim; d++) o[at + d] += weight * v[j * row + h * headDim + d];
        }
      }
    }
  };
}

/** The gradient row by row, p computed again. */
function plainBackward(seqLen: number): () => void {
  const row = nHeads * headDim;
  const [q, k, v, dO] = [0, 1, 2, 3].map(() => values(seqLen * row));
  const [dq, dk, dv] = [0, 1, 2].map(() => new Float32Array(seqLen * row));
  const p = new Float32Array(seqLen);
  const dp = new Float32Array(seqLen);
  const scale = 1 / Math.sqrt(headDim);
  return () => {
    for (const gradient of [dq, dk, dv]) gradient.fill(0);
    for (let h = 0; h < nHeads; h++) {
      for (let t = 0; t < seqLen; t++) {
        const at = t * row + h * headDim;
        let max = -Infinity;
        for (let j = 0; j <= t; j++) {
          const key = j * row + h * headDim;
          let score = 0;
          let product = 0;
          for (let d = 0; d < headDim; d++) {
            score += q[at + d] * k[key + d];
            product += dO[at + d] * v[key + d];
          }
          p[j] = score * scale;
          dp[j] = product;
          max = Math.max(max, p[j]);
        }
        let total = 0;
        for (let j = 0; j <= t; j++) {
          p[j] = Math.exp(p[j] - max);
          total += p[j];
        }
        let delta = 0;
        for (let j = 0; j <= t; j++) {
          p[j] /= total;
          delta += p[j] * dp[j];
        }
        for (let j = 0; j <= t; j++) {
          const key = j * row + h * headDim;
          const ds = p[j] * (dp[j] - delta) * scale;
          for (let d = 0; d < headDim; d++) {
            dq[at + d] += ds * k[key + d];
            dk[key + d] += ds * q[at + d];
            dv[key + d] += p[j] * dO[at + d];
          }
        }
      }
    }
  };
}

/** One query against a cache of `length` entries. */
function plainStep(length: number): () => void {
  const row = nHeads * headDim;
  const [k, v] = [0, 1].map(() => values(length * row));
  const q = values(row);
  const o = new Float32Array(row);
  const p = new Float32Array(length);
  const scale = 1 / Math.sqrt(headDim);
  return () => {
    for (let h = 0; h < nHeads; h++) {
      const at = h * headDim;
      let max = -Infinity;
      for (let j = 0; j < length; j++) {
        let score = 0;
        for (let d = 0; d < headDim; d++) score += q[at + d] * k[j * row + at + d];
        p[j] = score * scale;
        max = Math.max(max, p[j]);
      }
      let total = 0;
      for (let j = 0; j < length; j++) {
        p[j] = Math.exp(p[j] - max);
        total += p[j];
      }
      for (let d = 0; d < headDim; d++) o[at + d] = 0;
      for (let j = 0; j < length; j++) {
        const weight = p[j] / total;
        for (let d = 0; d < headDim; d++) o[at + d] += weight * v[j * row + at + d];
      }
    }
  };
}

function forward(seqLen: number, title: string, scores: number, options: Options = {}): Benchmark {
  return {
    op: 'softmaxAttention',
    pass: 'forward',
    shape: `[heads ${nHeads}, L ${seqLen}, d ${headDim}] ${title}`,
    quick: false,
    flops: flopsOf(scores, 2),
    prepare(k) {
      const args = { ...inputs(k, seqLen), causal: true, ...options };
      return () => {
        const { o, logSumExp } = k.softmaxAttention(args);
        o.dispose();
        logSumExp.dispose();
      };
    },
  };
}

const stepLength = 1024;

export const softmaxAttentionBenchmarks: Benchmark[] = [
  { ...forward(256, 'causal', visible(256)), quick: true, plain: () => plainForward(256) },
  { ...forward(1024, 'causal', visible(1024)), quick: true, plain: () => plainForward(1024) },
  forward(4096, 'causal', visible(4096)),
  {
    ...forward(4096, 'window 256', visible(4096, 256), { window: 256 }),
    plain: () => plainForward(4096, 256),
  },
  forward(4096, 'strided 64', visibleStrided(4096, 64), { sparse: { pattern: 'strided', stride: 64 } }),
  forward(4096, 'fixed 64, 8', visibleFixed(4096, 64, 8), {
    sparse: { pattern: 'fixed', stride: 64, summary: 8 },
  }),
  {
    op: 'softmaxAttention',
    pass: 'backward',
    shape: `[heads ${nHeads}, L 1024, d ${headDim}] causal`,
    quick: true,
    flops: flopsOf(visible(1024), 5),
    prepare(k) {
      const args = { ...inputs(k, 1024), causal: true };
      const { o, logSumExp } = k.softmaxAttention(args);
      const dO = filled(k, o.shape as number[]);
      return () => {
        const { dq, dk, dv } = k.softmaxAttentionBackward({ ...args, o, logSumExp, do: dO });
        for (const gradient of [dq, dk, dv]) gradient.dispose();
      };
    },
    plain: () => plainBackward(1024),
  },
  {
    op: 'softmaxAttention',
    pass: 'step',
    shape: `[heads ${nHeads}, L ${stepLength}, d ${headDim}]`,
    quick: false,
    flops: flopsOf(stepLength, 2),
    bytes: 2 * stepLength * nHeads * headDim * 4,
    prepare(k) {
      const [q, key, value] = [0, 1, 2].map(() => filled(k, [1, nHeads, headDim]));
      const [kCache, vCache] = [0, 1].map(() => filled(k, inputShape(stepLength)));
      const args = { q, k: key, v: value, kCache, vCache, length: stepLength - 1 };
      return () => k.softmaxAttentionStep(args).dispose();
    },
    plain: () => plainStep(stepLength),
  },
];
