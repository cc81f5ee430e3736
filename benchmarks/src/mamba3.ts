import type { Kernels } from '@freelunch/kernels';
import { type Benchmark, filled, values } from './benchmark.js';

const [nHeads, headDim, dState, nAngles, seqLen] = [24, 64, 128, 32, 1024];
const elements = seqLen * nHeads * headDim * dState;
const shape = (nRanks: number) => `[heads ${nHeads}, p ${headDim}, n ${dState}, L ${seqLen}, R ${nRanks}]`;

/**
 * What the chunked form needs, from no initial state, where it is products of matrices: of each head and chunk, halves of
 * squares (forward: C' B'^T and its product with v; backward: the same, g v^T, and what of both goes back to B', C' and v),
 * and its rows against a state (forward: twice; backward: five times; fewer at the ends of the sequence).
 */
function flops(pass: 'forward' | 'backward', nRanks: number): number {
  const chunkSize = Math.floor(40 / nRanks); // the default
  let total = 0;
  for (let t = 0; t < seqLen; t += chunkSize) {
    const rows = Math.min(chunkSize, seqLen - t) * nRanks;
    const squares = rows * (rows + nRanks);
    const border = 2 * rows * headDim * dState;
    const isFirst = t === 0;
    const isLast = t + chunkSize >= seqLen;
    if (pass === 'forward') total += squares * (dState + headDim) + border * (isFirst ? 1 : 2);
    else {
      total += squares * (3 * dState + 2 * headDim);
      total += border * ((isFirst ? 0 : 2) + (isLast ? 0 : 3));
    }
  }
  return nHeads * total;
}

function parameters(k: Kernels, nRanks: number) {
  return {
    BBias: filled(k, [nHeads, nRanks, dState]),
    CBias: filled(k, [nHeads, nRanks, dState]),
    D: filled(k, [nHeads]),
    dtSoftplus: true,
    aFloor: 1e-4,
    ...(nRanks > 1 && { mimoX: filled(k, [nHeads, nRanks, headDim]), convention: 'half' as const }),
  };
}

/** Inputs of a sequence, or without `steps` of a step. */
function inputs(k: Kernels, nRanks: number, ...steps: number[]) {
  const tokens = [1, ...steps];
  return {
    x: filled(k, [...tokens, nHeads, headDim]),
    dt: filled(k, [...tokens, nHeads], -4, 0),
    A: filled(k, [...tokens, nHeads]),
    trap: filled(k, [...tokens, nHeads]),
    B: filled(k, [...tokens, nRanks, 1, dState]),
    C: filled(k, [...tokens, nRanks, 1, dState]),
    angles: filled(k, [...tokens, 1, nAngles]),
    ...parameters(k, nRanks),
  };
}

/** `steps` steps of the recurrence with one rank, as one writes it down. */
function plain(steps: number): () => void {
  const x = values(steps * nHeads * headDim);
  const [dt, A, trap] = [values(steps * nHeads, -4, 0), values(steps * nHeads), values(steps * nHeads)];
  const [B, C, angles] = [values(steps * dState), values(steps * dState), values(steps * nAngles)];
  const bias = values(nHeads * dState);
  const D = values(nHeads);
  const y = new Float32Array(x.length);
  const h = new Float32Array(nHeads * headDim * dState);
  const angle = new Float64Array(nHeads * nAngles);
  const lastB = new Float32Array(nHeads * dState);
  const lastX = new Float32Array(nHeads * headDim);
  const Bs = new Float32Array(dState);
  const Cs = new Float32Array(dState);
  const turn = (out: Float32Array, row: Float32Array, from: number, head: number) => {
    for (let n = 0; n < dState; n++) out[n] = row[from + n] + bias[head * dState + n];
    for (let s = 0; s < nAngles; s++) {
      const [cosine, sine] = [Math.cos(angle[head * nAngles + s]), Math.sin(angle[head * nAngles + s])];
      const [a, b] = [out[2 * s], out[2 * s + 1]];
      out[2 * s] = a * cosine - b * sine;
      out[2 * s + 1] = a * sine + b * cosine;
    }
  };
  return () => {
    for (let t = 0; t < steps; t++) {
      for (let head = 0; head < nHeads; head++) {
        const i = t * nHeads + head;
        const step = Math.log1p(Math.exp(dt[i]));
        const decay = Math.exp(-step * Math.max(A[i] >= 0 ? 1 + A[i] : 1 / (1 - A[i]), 1e-4));
        const share = 1 / (1 + Math.exp(-trap[i]));
        for (let s = 0; s < nAngles; s++) {
          angle[head * nAngles + s] += Math.PI * Math.tanh(angles[t * nAngles + s]) * step;
        }
        turn(Bs, B, t * dState, head);
        turn(Cs, C, t * dState, head);
        for (let p = 0; p < headDim; p++) {
          const channel = head * headDim + p;
          const input = x[t * nHeads * headDim + channel];
          const late = (1 - share) * step * decay * lastX[channel];
          const own = share * step * input;
          let sum = D[head] * input;
          for (let n = 0; n < dState; n++) {
            const at = channel * dState + n;
            h[at] = decay * h[at] + late * lastB[head * dState + n] + own * Bs[n];
            sum += Cs[n] * h[at];
          }
          y[t * nHeads * headDim + channel] = sum;
          lastX[channel] = input;
        }
        lastB.set(Bs, head * dState);
      }
    }
  };
}

const sequence = (nRanks: number): Benchmark[] => [
  {
    op: 'mamba3',
    pass: 'forward',
    shape: shape(nRanks),
    quick: nRanks === 1,
    flops: flops('forward', nRanks),
    elements: elements * nRanks,
    prepare(k) {
      const args = inputs(k, nRanks, seqLen);
      return () => k.scope(() => void k.mamba3(args));
    },
    ...(nRanks === 1 && { plain: () => plain(seqLen) }),
  },
  {
    op: 'mamba3Backward',
    pass: 'backward',
    shape: shape(nRanks),
    quick: false,
    flops: flops('backward', nRanks),
    elements: elements * nRanks,
    prepare(k) {
      const args = {
        ...inputs(k, nRanks, seqLen),
        dy: filled(k, [1, seqLen, nHeads, nRanks, headDim]),
      };
      return () => k.scope(() => void k.mamba3Backward(args));
    },
  },
];

const gate = (pass: 'forward' | 'backward'): Benchmark => ({
  op: pass === 'forward' ? 'mamba3Gate' : 'mamba3GateBackward',
  pass,
  shape: shape(4),
  quick: false,
  elements: seqLen * nHeads * 4 * headDim,
  prepare(k) {
    const ranks = [nHeads, 4, headDim];
    const args = {
      x: filled(k, [1, seqLen, ...ranks]),
      z: filled(k, [1, seqLen, nHeads, headDim]),
      weight: filled(k, [nHeads * headDim]),
      mimoZ: filled(k, ranks),
      mimoO: filled(k, ranks),
    };
    if (pass === 'forward') return () => k.mamba3Gate(args).dispose();
    const dy = filled(k, [1, seqLen, nHeads, headDim]);
    return () => k.scope(() => void k.mamba3GateBackward({ ...args, dy }));
  },
});

export const mamba3Benchmarks: Benchmark[] = [
  ...sequence(1),
  ...sequence(4),
  {
    op: 'mamba3Step',
    pass: 'step',
    shape: `[heads ${nHeads}, p ${headDim}, n ${dState}, R 1]`,
    quick: false,
    flops: nHeads * headDim * dState * 7,
    elements: nHeads * headDim * dState,
    bytes: nHeads * headDim * dState * 8,
    prepare(k) {
      const args = {
        ...inputs(k, 1),
        angle: k.zeros([1, nHeads, nAngles]),
        state: k.zeros([1, nHeads, headDim, dState]),
        lastB: k.zeros([1, 1, nHeads, dState]),
        lastX: k.zeros([1, nHeads, headDim]),
      };
      return () => k.mamba3Step(args).dispose();
    },
    plain: () => plain(1),
  },
  gate('forward'),
  gate('backward'),
];
