import type { Kernels } from '@freelunch/kernels';
import { type Benchmark, filled, values } from './benchmark.js';

const [nHeads, d] = [8, 64];

interface Shape {
  seqLen: number;
  /** Forget factors: none, one a head and step, or one a key channel and step. */
  forget?: 'decay' | 'gate';
  /** The form that the function would not take by itself, to compare. */
  form?: 'recurrent' | 'chunked';
}

const title = ({ seqLen, forget, form }: Shape) =>
  `[heads ${nHeads}, L ${seqLen}, d ${d}] ${forget ?? 'elu1, normalised'}${form ? `, ${form}` : ''}`;

/** Read and update: a madd each for every element of the state. */
const forwardFlops = ({ seqLen }: Shape) => 4 * seqLen * nHeads * d * d;

function args(k: Kernels, { seqLen, forget }: Shape) {
  const shape = [1, seqLen, nHeads, d];
  const tensors = { q: filled(k, shape), k: filled(k, shape), v: filled(k, shape) };
  if (forget === 'decay') return { ...tensors, decay: filled(k, [1, seqLen, nHeads], -1, 0) };
  if (forget === 'gate') return { ...tensors, gate: filled(k, shape, -1, 0) };
  return { ...tensors, featureMap: 'elu1', normalize: true } as const;
}

function plainForward({ seqLen, forget }: Shape) {
  const size = seqLen * nHeads * d;
  const [q, key, v, o] = [values(size), values(size), values(size), new Float32Array(size)];
  const logs = forget && values(forget === 'gate' ? size : seqLen * nHeads, -1, 0);
  const phi = (x: number) => (forget ? x : x > 0 ? x + 1 : Math.exp(x));
  return () => {
    for (let h = 0; h < nHeads; h++) {
      const S = new Float32Array(d * d);
      const z = new Float32Array(d);
      for (let t = 0; t < seqLen; t++) {
        const step = t * nHeads + h;
        const row = step * d;
        let denominator = forget ? 1 : 1e-6;
        for (let j = 0; j < d; j++) o[row + j] = 0;
        for (let i = 0; i < d; i++) {
          const f = logs ? Math.exp(logs[forget === 'gate' ? row + i : step]) : 1;
          const query = phi(q[row + i]);
          const keyI = phi(key[row + i]);
          if (!forget) {
            z[i] += keyI;
            denominator += query * z[i];
          }
          for (let j = 0; j < d; j++) {
            S[i * d + j] = f * S[i * d + j] + keyI * v[row + j];
            o[row + j] += query * S[i * d + j];
          }
        }
        for (let j = 0; j < d; j++) o[row + j] /= denominator;
      }
    }
  };
}

const forward = (shape: Shape, quick = false): Benchmark => ({
  op: 'linearAttention',
  pass: 'forward',
  shape: title(shape),
  quick,
  flops: forwardFlops(shape),
  prepare(k) {
    const given = { ...args(k, shape), form: shape.form };
    return () => {
      const { o, lastState, lastNormalizer } = k.linearAttention(given);
      for (const tensor of [o, lastState, lastNormalizer]) tensor?.dispose();
    };
  },
  plain: () => plainForward(shape),
});

const backward = (shape: Shape, quick = false): Benchmark => ({
  op: 'linearAttention',
  pass: 'backward',
  shape: title(shape),
  quick,
  flops: 3 * forwardFlops(shape),
  prepare(k) {
    const given = { ...args(k, shape), do: filled(k, [1, shape.seqLen, nHeads, d]) };
    return () => {
      for (const gradient of Object.values(k.linearAttentionBackward(given))) gradient.dispose();
    };
  },
});

const step: Benchmark = {
  op: 'linearAttention',
  pass: 'step',
  shape: `[heads ${nHeads}, d ${d}] elu1, normalised`,
  quick: false,
  flops: 4 * nHeads * d * d,
  bytes: 2 * 4 * nHeads * d * d,
  prepare(k) {
    const make = () => filled(k, [1, nHeads, d]);
    const given = { q: make(), k: make(), v: make(), featureMap: 'elu1', normalize: true } as const;
    const state = k.zeros([1, nHeads, d, d]);
    const normalizer = k.zeros([1, nHeads, d]);
    return () => k.linearAttentionStep({ ...given, state, normalizer }).dispose();
  },
};

export const linearAttentionBenchmarks: Benchmark[] = [
  forward({ seqLen: 256 }),
  forward({ seqLen: 1024 }, true),
  forward({ seqLen: 4096 }),
  forward({ seqLen: 1024, forget: 'decay' }),
  forward({ seqLen: 1024, forget: 'gate' }),
  forward({ seqLen: 1024, form: 'chunked' }),
  forward({ seqLen: 1024, forget: 'decay', form: 'recurrent' }),
  backward({ seqLen: 1024 }, true),
  backward({ seqLen: 1024, forget: 'decay' }),
  backward({ seqLen: 1024, forget: 'gate' }),
  step,
];
