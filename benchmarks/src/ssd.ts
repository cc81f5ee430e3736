import type { Kernels } from '@freelunch/kernels';
import { type Benchmark, filled, values } from './benchmark.js';

const [nHeads, headDim, dState, seqLen] = [24, 64, 128, 1024];
const shape = `[heads ${nHeads}, p ${headDim}, n ${dState}, L ${seqLen}]`;
const elements = seqLen * nHeads * headDim * dState;
const chunkSize = 40; // the default

/**
 * What the chunked form needs, from no initial state. Forward: C B^T once, half of the square within a chunk, the state
 * into the outputs (but for the first chunk), the inputs into the state. Backward: two halves of squares a head and three
 * for all, the states again (but for the last), and twice a chunk's inner border both ways.
 */
function flops(pass: 'forward' | 'backward'): number {
  let total = 0;
  for (let t = 0; t < seqLen; t += chunkSize) {
    const length = Math.min(chunkSize, seqLen - t);
    const triangle = length * (length + 1);
    const border = nHeads * 2 * length * headDim * dState; // a chunk against a state
    const isFirst = t === 0;
    const isLast = t + chunkSize >= seqLen;
    if (pass === 'forward') {
      total += triangle * (dState + nHeads * headDim) + border * (isFirst ? 1 : 2);
    } else {
      total += triangle * (3 * dState + 2 * nHeads * headDim);
      total += border * ((isFirst ? 0 : 2) + (isLast ? 0 : 3)); // g into dh and h0 into dC; states, dh into dX and dB
    }
  }
  return total;
}

function inputs(k: Kernels) {
  return {
    x: filled(k, [1, seqLen, nHeads, headDim]),
    dt: filled(k, [1, seqLen, nHeads], -4, 0),
    A: filled(k, [nHeads], -8, -1),
    B: filled(k, [1, seqLen, 1, dState]),
    C: filled(k, [1, seqLen, 1, dState]),
    D: filled(k, [nHeads]),
    dtSoftplus: true,
  };
}

/** `steps` steps of the recurrence, as one writes it down. */
function plain(steps: number): () => void {
  const x = values(steps * nHeads * headDim);
  const dt = values(steps * nHeads, -4, 0);
  const A = values(nHeads, -8, -1);
  const B = values(steps * dState);
  const C = values(steps * dState);
  const D = values(nHeads);
  const y = new Float32Array(x.length);
  const h = new Float32Array(nHeads * headDim * dState);
  return () => {
    for (let t = 0; t < steps; t++) {
      for (let head = 0; head < nHeads; head++) {
        const step = Math.log1p(Math.exp(dt[t * nHeads + head]));
        const decay = Math.exp(step * A[head]);
        for (let p = 0; p < headDim; p++) {
          const channel = head * headDim + p;
          const input = x[t * nHeads * headDim + channel];
          let sum = D[head] * input;
          for (let n = 0; n < dState; n++) {
            const state = decay * h[channel * dState + n] + step * input * B[t * dState + n];
            h[channel * dState + n] = state;
            sum += C[t * dState + n] * state;
          }
          y[t * nHeads * headDim + channel] = sum;
        }
      }
    }
  };
}

export const ssdBenchmarks: Benchmark[] = [
  {
    op: 'ssd',
    pass: 'forward',
    shape,
    quick: true,
    flops: flops('forward'),
    elements,
    prepare(k) {
      const args = inputs(k);
      return () => k.scope(() => void k.ssd(args));
    },
    plain: () => plain(seqLen),
  },
  {
    op: 'ssdBackward',
    pass: 'backward',
    shape,
    quick: false,
    flops: flops('backward'),
    elements,
    prepare(k) {
      const args = { ...inputs(k), dy: filled(k, [1, seqLen, nHeads, headDim]) };
      return () => k.scope(() => void k.ssdBackward(args));
    },
  },
  {
    op: 'ssdStep',
    pass: 'step',
    shape: `[heads ${nHeads}, p ${headDim}, n ${dState}]`,
    quick: false,
    flops: nHeads * headDim * dState * 5,
    elements: nHeads * headDim * dState,
    bytes: nHeads * headDim * dState * 8,
    prepare(k) {
      const args = {
        ...inputs(k),
        state: k.zeros([1, nHeads, headDim, dState]),
        x: filled(k, [1, nHeads, headDim]),
        dt: filled(k, [1, nHeads], -4, 0),
        B: filled(k, [1, 1, dState]),
        C: filled(k, [1, 1, dState]),
      };
      return () => k.ssdStep(args).dispose();
    },
    plain: () => plain(1),
  },
];
