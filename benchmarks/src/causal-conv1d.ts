import type { Kernels } from '@freelunch/kernels';
import { type Benchmark, filled, values } from './benchmark.js';

const [seqLen, channels, width] = [1024, 1536, 4];
const shape = `[L ${seqLen}, channels ${channels}, width ${width}]`;
const elements = seqLen * channels;

function inputs(k: Kernels, tokens: number[]) {
  return {
    x: filled(k, [1, ...tokens, channels]),
    weight: filled(k, [channels, width]),
    bias: filled(k, [channels]),
    activation: 'silu' as const,
  };
}

function plain(steps: number): () => void {
  const x = values((steps + width - 1) * channels); // with the inputs before the first step
  const weight = values(channels * width);
  const bias = values(channels);
  const y = new Float32Array(steps * channels);
  return () => {
    for (let t = 0; t < steps; t++) {
      for (let c = 0; c < channels; c++) {
        let sum = bias[c];
        for (let k = 0; k < width; k++) sum += weight[c * width + k] * x[(t + k) * channels + c];
        y[t * channels + c] = sum / (1 + Math.exp(-sum));
      }
    }
  };
}

export const causalConv1dBenchmarks: Benchmark[] = [
  {
    op: 'causalConv1d',
    pass: 'forward',
    shape,
    quick: true,
    flops: elements * 2 * width,
    elements,
    bytes: elements * 8,
    prepare(k) {
      const args = inputs(k, [seqLen]);
      return () => k.scope(() => void k.causalConv1d(args));
    },
    plain: () => plain(seqLen),
  },
  {
    op: 'causalConv1dBackward',
    pass: 'backward',
    shape,
    quick: false,
    flops: elements * 6 * width, // the sum before SiLU again, and two gradients
    elements,
    bytes: elements * 12,
    prepare(k) {
      const args = { ...inputs(k, [seqLen]), dy: filled(k, [1, seqLen, channels]) };
      return () => k.scope(() => void k.causalConv1dBackward(args));
    },
  },
  {
    op: 'causalConv1dStep',
    pass: 'step',
    shape: `[channels ${channels}, width ${width}]`,
    quick: false,
    flops: channels * 2 * width,
    elements: channels,
    prepare(k) {
      const args = { ...inputs(k, []), state: k.zeros([1, width - 1, channels]) };
      return () => k.causalConv1dStep(args).dispose();
    },
    plain: () => plain(1),
  },
];
