/**
 * Milliseconds of a training step, all of it: forward, backward, clipping, AdamW, accuracy. Beside it the share of the
 * machine's peak that its counted operations reach: products with weights and, causally, within attention; forward
 * once and backward twice. What is recomputed and all that is no product is not counted, but takes its time.
 *
 *   node dist/training.js [--variant simd|relaxed-simd] [--steps 60]
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { loadKernels, type Variant } from '@freelunch/kernels';
import {
  createModel,
  type LanguageModel,
  type ModelConfig,
  train,
  type TrainingBatch,
} from '@freelunch/models';
import { values } from './benchmark.js';
import { loadMachine } from './machine.js';

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
  options: { variant: { type: 'string', default: 'simd' }, steps: { type: 'string', default: '60' } },
});
const variant = given.variant as Variant;
const steps = Number(given.steps);
const k = await loadKernels({ variant });
const machine = await loadMachine(variant);
console.log(`${cpus()[0].model.trim()}, Node ${process.version}, one thread, ${variant}`);
console.log(`batch ${batchSize}, seqLen ${seqLen}, dModel ${sizes.dModel}, ${sizes.nLayers} layers\n`);
console.log(`${''.padEnd(26)}    median      best    tokens/s   counted, at best`);
for (const [name, config] of Object.entries(configs)) {
  const model = createModel(k, config);
  const peaks = [machine.peakGflops()];
  const times: number[] = [];
  for await (const { step, tokensPerSecond } of train(model, batches(), { steps: steps + 20 }))
    if (step > 20) times.push((batchSize * seqLen * 1e3) / tokensPerSecond); // the first compile and grow
  peaks.push(machine.peakGflops());
  times.sort((a, b) => a - b);
  const median = times[times.length >> 1];
  const gflops = countedFlops(model) / times[0] / 1e6; // the best beside the best that the machine reached
  const peak = Math.max(...peaks);
  console.log(
    `${name.padEnd(26)}${median.toFixed(1).padStart(7)} ms${times[0].toFixed(1).padStart(7)} ms` +
      `${((batchSize * seqLen * 1e3) / median).toFixed(0).padStart(12)}` +
      `${gflops.toFixed(1).padStart(8)} GFLOP/s${((100 * gflops) / peak).toFixed(0).padStart(5)} % of ${peak.toFixed(0)}`,
  );
  model.dispose();
}
