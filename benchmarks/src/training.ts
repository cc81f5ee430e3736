/**
 * Milliseconds of a training step, all of it: forward, backward, clipping, AdamW, accuracy. Beside it the share of the
 * machine's peak that its counted operations reach: products with weights and, causally, within attention; forward
 * once and backward twice. What is recomputed and all that is no product is not counted, but takes its time.
 *
 *   node dist/training.js [--variant simd|relaxed-simd] [--steps 60] [--threads 1,2]
 *
 * With several numbers of threads their steps take turns, and how much faster each is than the first stands beside it.
 */
import { availableParallelism, cpus } from 'node:os';
import { parseArgs } from 'node:util';
import type { Variant } from '@freelunch/kernels';
import {
  createModel,
  type LanguageModel,
  type ModelConfig,
  train,
  type TrainingBatch,
} from '@freelunch/models';
import { values } from './benchmark.js';
import { loadMachine } from './machine.js';
import { kernelsFor, median, threadCounts } from './speed-up.js';

const [batchSize, seqLen, vocabSize] = [16, 128, 64];
const sizes = { vocabSize, dModel: 64, nLayers: 2 };

const configs: Record<string, ModelConfig> = {
  'softmax attention, gelu': {
    ...sizes,
    mixer: { type: 'softmax-attention', nHeads: 4 },
    mlp: 'gelu',
    position: 'rope',
  },
  Mamba: { ...sizes, mixer: { type: 'mamba', expand: 2, dState: 16 } },
  'Mamba-2': { ...sizes, mixer: { type: 'mamba2', headDim: 32, dState: 16 } },
  'Mamba-3': { ...sizes, mixer: { type: 'mamba3', headDim: 32, dState: 16 } },
  'linear attention, gelu': { ...sizes, mixer: { type: 'linear-attention', nHeads: 4 }, mlp: 'gelu' },
};

/** Products of one step: a multiplication and an addition for each weight and token, and for each pair that attends. */
function countedFlops({ specs, config }: LanguageModel): number {
  const tokens = batchSize * seqLen;
  const products = specs.filter(({ name, shape }) => shape.length === 2 && !/embed|A_log/.test(name));
  const weights = products.reduce(
    (sum, { shape }) => sum + shape[0] * shape[1],
    config.vocabSize * config.dModel,
  );
  const attended = config.mixers.filter(({ type }) => type === 'softmax-attention').length;
  const pairs = (batchSize * seqLen * (seqLen + 1)) / 2;
  return 3 * (2 * tokens * weights + attended * pairs * 4 * config.dModel);
}

function* batches(): Generator<TrainingBatch> {
  const ids = Int32Array.from(values(batchSize * seqLen + 1, 0, vocabSize), Math.floor);
  for (;;) yield { inputs: ids.slice(0, -1), targets: ids.slice(1), batchSize, seqLen };
}

const { values: given } = parseArgs({
  options: {
    variant: { type: 'string', default: 'simd' },
    steps: { type: 'string', default: '60' },
    threads: { type: 'string', default: '1' },
  },
});
const WARM_UP = 20; // steps in which code is compiled and memory grows
const variant = given.variant as Variant;
const all = await kernelsFor(threadCounts(given.threads), variant);
const machine = await loadMachine(variant);
console.log(
  `${cpus()[0].model.trim()}, ${availableParallelism()} cores, Node ${process.version}, ${variant}`,
);
console.log(`batch ${batchSize}, seqLen ${seqLen}, dModel ${sizes.dModel}, ${sizes.nLayers} layers\n`);
console.log(`${''.padEnd(26)}threads    median      best    tokens/s   counted, at best, of one core's peak`);
for (const [name, config] of Object.entries(configs)) {
  const models = all.map((k) => createModel(k, config));
  const peaks = [machine.peakGflops()];
  const times: number[][] = models.map(() => []);
  const steps = WARM_UP + Number(given.steps);
  const runs = models.map((model) => train(model, batches(), { steps })[Symbol.asyncIterator]());
  for (let step = 0; step < steps; step++) {
    for (const [i, run] of runs.entries()) {
      const { value, done } = await run.next();
      if (done !== true && step >= WARM_UP) times[i].push((batchSize * seqLen * 1e3) / value.tokensPerSecond);
    }
  }
  for (const run of runs) await run.next(); // to its end
  peaks.push(machine.peakGflops());
  const peak = Math.max(...peaks);
  for (const [i, model] of models.entries()) {
    const middle = median(times[i]);
    const best = Math.min(...times[i]);
    const gflops = countedFlops(model) / best / 1e6; // the best beside the best that the machine reached
    const faster =
      i === 0
        ? ''
        : `   ${(Math.min(...times[0]) / best).toFixed(2)} x (${(median(times[0]) / middle).toFixed(2)})`;
    console.log(
      `${(i === 0 ? name : '').padEnd(26)}${String(all[i].threads).padStart(7)}${middle.toFixed(1).padStart(7)} ms` +
        `${best.toFixed(1).padStart(7)} ms${((batchSize * seqLen * 1e3) / middle).toFixed(0).padStart(12)}` +
        `${gflops.toFixed(1).padStart(8)} GFLOP/s${((100 * gflops) / peak).toFixed(0).padStart(5)} % of ${peak.toFixed(0)}${faster}`,
    );
    model.dispose();
  }
}
