import { type Benchmark, filled, values } from './benchmark.js';

const seqLen = 1024;
const nHeads = 8;
const headDim = 64;
const size = seqLen * nHeads * headDim;
const shape = `[1, ${seqLen}, ${nHeads}, ${headDim}]`;

/** `direction` -1 turns back. */
function plain(direction: number): () => void {
  const x = values(size);
  const y = new Float32Array(size);
  const half = headDim / 2;
  return () => {
    for (let t = 0; t < seqLen; t++) {
      for (let i = 0; i < half; i++) {
        const angle = direction * t * 10000 ** ((-2 * i) / headDim);
        const cos = Math.cos(angle);
        const sin = Math.sin(angle);
        for (let h = 0; h < nHeads; h++) {
          const first = (t * nHeads + h) * headDim + i;
          y[first] = x[first] * cos - x[first + half] * sin;
          y[first + half] = x[first + half] * cos + x[first] * sin;
        }
      }
    }
  };
}

export const ropeBenchmarks: Benchmark[] = [
  {
    op: 'rope',
    pass: 'forward',
    shape,
    quick: false,
    elements: size,
    bytes: 8 * size,
    prepare(k) {
      const x = filled(k, [1, seqLen, nHeads, headDim]);
      return () => k.rope({ x }).dispose();
    },
    plain: () => plain(1),
  },
  {
    op: 'rope',
    pass: 'backward',
    shape,
    quick: false,
    elements: size,
    bytes: 8 * size,
    prepare(k) {
      const dy = filled(k, [1, seqLen, nHeads, headDim]);
      return () => k.ropeBackward({ dy }).dx.dispose();
    },
    plain: () => plain(-1),
  },
];
