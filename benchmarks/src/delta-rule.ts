import type { Kernels } from '@freelunch/kernels';
import { type Benchmark, filled, values } from './benchmark.js';

const [nHeads, d] = [8, 64];
const title = (seqLen: number, gated: boolean) =>
  `[heads ${nHeads}, L ${seqLen}, d ${d}] keys normalised${gated ? ', decay' : ''}`;

/** Recall, update and read: a madd each for every element of the state. */
const forwardFlops = (seqLen: number) => 6 * seqLen * nHeads * d * d;

function args(k: Kernels, seqLen: number) {
  const shape = [1, seqLen, nHeads, d];
  return {
    q: filled(k, shape),
    k: filled(k, shape),
    v: filled(k, shape),
    beta: filled(k, [1, seqLen, nHeads], 0, 1),
    l2Normalize: true,
  };
}

const decay = (k: Kernels, seqLen: number) => filled(k, [1, seqLen, nHeads], -1, 0);

function plainForward(seqLen: number, gated: boolean) {
  const size = seqLen * nHeads * d;
  const [q, key, v, o] = [values(size), values(size), values(size), new Float32Array(size)];
  const [beta, decay] = [values(seqLen * nHeads, 0, 1), values(seqLen * nHeads, -1, 0)];
  const inverseNorm = (x: Float32Array, row: number) => {
    let squares = 1e-6;
    for (let i = row; i < row + d; i++) squares += x[i] * x[i];
    return 1 / Math.sqrt(squares);
  };
  return () => {
    const recalled = new Float32Array(d);
    for (let h = 0; h < nHeads; h++) {
      const S = new Float32Array(d * d);
      for (let t = 0; t < seqLen; t++) {
        const step = t * nHeads + h;
        const row = step * d;
        const f = gated ? Math.exp(decay[step]) : 1;
        const queryScale = inverseNorm(q, row);
        const keyScale = inverseNorm(key, row);
        recalled.fill(0);
        for (let i = 0; i < d; i++) {
          const keyI = f * keyScale * key[row + i];
          for (let j = 0; j < d; j++) recalled[j] += keyI * S[i * d + j];
        }
        for (let j = 0; j < d; j++) {
          recalled[j] = beta[step] * (v[row + j] - recalled[j]);
          o[row + j] = 0;
        }
        for (let i = 0; i < d; i++) {
          const keyI = keyScale * key[row + i];
          const query = queryScale * q[row + i];
          for (let j = 0; j < d; j++) {
            S[i * d + j] = f * S[i * d + j] + keyI * recalled[j];
            o[row + j] += query * S[i * d + j];
          }
        }
      }
    }
  };
}

const forward = (seqLen: number, gated: boolean): Benchmark => ({
  op: gated ? 'gatedDeltaRule' : 'deltaRule',
  pass: 'forward',
  shape: title(seqLen, gated),
  quick: false,
  flops: forwardFlops(seqLen),
  prepare(k) {
    const given = args(k, seqLen);
    const gatedArgs = { ...given, decay: decay(k, seqLen) };
    return () => {
      const { o, lastState } = gated ? k.gatedDeltaRule(gatedArgs) : k.deltaRule(given);
      o.dispose();
      lastState.dispose();
    };
  },
  plain: () => plainForward(seqLen, gated),
});

const backward = (seqLen: number, gated: boolean): Benchmark => ({
  op: gated ? 'gatedDeltaRule' : 'deltaRule',
  pass: 'backward',
  shape: title(seqLen, gated),
  quick: false,
  flops: 4 * forwardFlops(seqLen),
  prepare(k) {
    const given = { ...args(k, seqLen), do: filled(k, [1, seqLen, nHeads, d]) };
    const gatedArgs = { ...given, decay: decay(k, seqLen) };
    return () => {
      const gradients = gated ? k.gatedDeltaRuleBackward(gatedArgs) : k.deltaRuleBackward(given);
      for (const gradient of Object.values(gradients)) gradient.dispose();
    };
  },
});

const step: Benchmark = {
  op: 'gatedDeltaRule',
  pass: 'step',
  shape: `[heads ${nHeads}, d ${d}] keys normalised, decay`,
  quick: false,
  flops: 6 * nHeads * d * d,
  bytes: 2 * 4 * nHeads * d * d,
  prepare(k) {
    const make = () => filled(k, [1, nHeads, d]);
    const given = {
      q: make(),
      k: make(),
      v: make(),
      beta: filled(k, [1, nHeads], 0, 1),
      decay: filled(k, [1, nHeads], -1, 0),
      l2Normalize: true,
    };
    const state = k.zeros([1, nHeads, d, d]);
    return () => k.gatedDeltaRuleStep({ ...given, state }).dispose();
  },
};

export const deltaRuleBenchmarks: Benchmark[] = [
  forward(256, false),
  forward(1024, false),
  forward(4096, false),
  forward(1024, true),
  backward(1024, false),
  backward(1024, true),
  step,
];
