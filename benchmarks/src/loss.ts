import { type Benchmark, filled, values } from './benchmark.js';

const rows = 512;
const vocabSize = 32000;
const size = rows * vocabSize;
const shape = `[${rows}, ${vocabSize}]`;
const targets = Int32Array.from({ length: rows }, (_, i) => (i * 7919) % vocabSize);

function plainLogSumExp(logits: Float32Array, start: number): number {
  let top = -Infinity;
  for (let v = start; v < start + vocabSize; v++) top = Math.max(top, logits[v]);
  let sum = 0;
  for (let v = start; v < start + vocabSize; v++) sum += Math.exp(logits[v] - top);
  return top + Math.log(sum);
}

export const lossBenchmarks: Benchmark[] = [
  {
    op: 'crossEntropy',
    pass: 'forward',
    shape,
    quick: true,
    elements: size,
    bytes: 4 * size,
    prepare(k) {
      const args = { logits: filled(k, [rows, vocabSize], -4, 4), targets: k.tensor(targets) };
      return () => {
        const { loss, logSumExp } = k.crossEntropy(args);
        loss.dispose();
        logSumExp.dispose();
      };
    },
    plain() {
      const logits = values(size, -4, 4);
      const loss = new Float32Array(1);
      return () => {
        let total = 0;
        for (let i = 0; i < rows; i++) {
          total += plainLogSumExp(logits, i * vocabSize) - logits[i * vocabSize + targets[i]];
        }
        loss[0] = total / rows;
      };
    },
  },
  {
    op: 'crossEntropy',
    pass: 'backward',
    shape,
    quick: false,
    elements: size,
    bytes: 8 * size,
    prepare(k) {
      const args = { logits: filled(k, [rows, vocabSize], -4, 4), targets: k.tensor(targets) };
      const { logSumExp } = k.crossEntropy(args);
      return () => k.crossEntropyBackward({ ...args, logSumExp }).dlogits.dispose();
    },
    plain() {
      const logits = values(size, -4, 4);
      const logSumExp = Float32Array.from({ length: rows }, (_, i) => plainLogSumExp(logits, i * vocabSize));
      const dlogits = new Float32Array(size);
      return () => {
        for (let i = 0; i < rows; i++) {
          for (let v = i * vocabSize; v < (i + 1) * vocabSize; v++) {
            dlogits[v] = Math.exp(logits[v] - logSumExp[i]) / rows;
          }
          dlogits[i * vocabSize + targets[i]] -= 1 / rows;
        }
      };
    },
  },
];
