import { type Benchmark, filled, values } from './benchmark.js';

const count = 2048;
const vocabSize = 32000;
const dModel = 512;
const shape = `[${count}] of [${vocabSize}, ${dModel}]`;

/** Ids all over the table, each once. */
const ids = Int32Array.from({ length: count }, (_, i) => (i * 7919) % vocabSize);

export const embeddingBenchmarks: Benchmark[] = [
  {
    op: 'embedding',
    pass: 'forward',
    shape,
    quick: false,
    elements: count * dModel,
    bytes: 8 * count * dModel,
    prepare(k) {
      const args = { ids: k.tensor(ids), weight: filled(k, [vocabSize, dModel]) };
      return () => k.embedding(args).dispose();
    },
    plain() {
      const weight = values(vocabSize * dModel);
      const y = new Float32Array(count * dModel);
      return () => {
        for (let i = 0; i < count; i++) {
          for (let d = 0; d < dModel; d++) y[i * dModel + d] = weight[ids[i] * dModel + d];
        }
      };
    },
  },
  ...(['float16', 'int8', 'int4'] as const).map((dtype): Benchmark => ({
    op: 'embedding',
    pass: 'forward',
    shape: `${shape} ${dtype}`,
    quick: false,
    elements: count * dModel,
    prepare(k) {
      const weight = k.scope(() => k.quantize({ x: filled(k, [vocabSize, dModel]), dtype }));
      const args = { ids: k.tensor(ids), weight };
      return () => k.embedding(args).dispose();
    },
  })),
  {
    op: 'embedding',
    pass: 'backward',
    shape,
    quick: false,
    elements: count * dModel,
    bytes: 4 * (vocabSize + 3 * count) * dModel,
    prepare(k) {
      const args = {
        ids: k.tensor(ids),
        weight: filled(k, [vocabSize, dModel]),
        dy: filled(k, [count, dModel]),
      };
      return () => k.embeddingBackward(args).dweight.dispose();
    },
    plain() {
      const dy = values(count * dModel);
      const dweight = new Float32Array(vocabSize * dModel);
      return () => {
        dweight.fill(0);
        for (let i = 0; i < count; i++) {
          for (let d = 0; d < dModel; d++) dweight[ids[i] * dModel + d] += dy[i * dModel + d];
        }
      };
    },
  },
];
