/**
 * What a token costs in a small model, where the work around the kernels counts, and what memory a prompt needs at the
 * layer sizes of mamba-130m, over that of the weights.
 *
 *   node dist/steps.js [--variant simd|relaxed-simd] [--batch 1] [--prompt 512]
 */
import { availableParallelism, cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { type Kernels, loadKernels, type Variant } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import { createModel, type MixerConfig, type ModelConfig } from '@freelunch/models';
import { median } from './speed-up.js';

const { values: given } = parseArgs({
  options: {
    variant: { type: 'string', default: 'simd' },
    batch: { type: 'string', default: '1' },
    prompt: { type: 'string', default: '512' },
  },
});
const k = await loadKernels({ variant: given.variant as Variant });
console.log(
  `${cpus()[0].model.trim()}, ${availableParallelism()} cores, Node ${process.version}, ${given.variant}\n`,
);

const ROUNDS = 40;
const STEPS = 100;

interface StepTimes {
  /** Microseconds of a step, and of its calls of kernels alone. */
  step: number[];
  kernels: number[];
}

/** Times steps from one state, kernels by themselves in between: both of the same moment. */
function timeSteps(config: ModelConfig, batch: number): StepTimes {
  const model = createModel(k, config);
  const state = model.initialState(batch);
  const ids = Array.from({ length: batch }, (_, b) => b % config.vocabSize);
  const { calls, stop } = listen(k);
  model.step(ids, state).dispose();
  stop();
  const microseconds = (run: () => void): number => {
    const start = performance.now();
    for (let n = 0; n < STEPS; n++) run();
    return ((performance.now() - start) / STEPS) * 1e3;
  };
  const times: StepTimes = { step: [], kernels: [] };
  for (let round = -2; round < ROUNDS; round++) {
    // A new state now and then: the cache of attention stays short.
    const fresh = model.initialState(batch);
    model.step(ids, fresh).dispose();
    const step = microseconds(() => model.step(ids, fresh).dispose());
    fresh.dispose();
    const kernels = microseconds(() => {
      for (const call of calls) call();
    });
    if (round < 0) continue; // compiles
    times.step.push(step);
    times.kernels.push(kernels);
  }
  state.dispose();
  model.dispose();
  return times;
}

/** The calls of kernels that a step makes, without what it derives from weights, which it does once. */
function listen(kernels: Kernels): { calls: (() => void)[]; stop: () => void } {
  const context = internalsOf(kernels);
  const calls: (() => void)[] = [];
  const { record } = context;
  context.record = (fn) => {
    const recorded = record.call(context, fn);
    calls.push(() => recorded.recording.replay());
    return recorded as never;
  };
  return { calls, stop: () => (context.record = record) };
}

const mixers: Record<string, MixerConfig> = {
  mamba: { type: 'mamba' },
  'mamba2, headDim 32': { type: 'mamba2', headDim: 32 },
  'mamba3, headDim 32': { type: 'mamba3', headDim: 32 },
  'linear attention, 4 heads': { type: 'linear-attention', nHeads: 4 },
  'delta rule, 4 heads': { type: 'delta-rule', nHeads: 4 },
  'softmax attention, 4 heads, up to 100 tokens': { type: 'softmax-attention', nHeads: 4 },
};

const batch = Number(given.batch);
console.log(`A step at dModel 64, 2 layers, 64 tokens of vocabulary, batch ${batch}, in microseconds:\n`);
for (const [name, mixer] of Object.entries(mixers)) {
  const { step, kernels } = timeSteps({ vocabSize: 64, dModel: 64, nLayers: 2, mixer }, batch);
  const best = Math.min(...step)
    .toFixed(1)
    .padStart(6);
  console.log(
    `${name.padEnd(45)}${best} at best, ${median(step).toFixed(1)} in the median; kernels ${Math.min(...kernels).toFixed(1)}`,
  );
}

const length = Number(given.prompt);
console.log(
  `\nA prompt of ${length} tokens at dModel 768, dInner 1536, dState 16: memory over that of the weights\n`,
);
for (const nLayers of [2, 24]) {
  const model = createModel(k, { vocabSize: 512, dModel: 768, nLayers, mixer: { type: 'mamba' } });
  const prompt = Int32Array.from({ length }, (_, i) => (i * 31) % 512);
  const before = k.memory.usedBytes;
  k.resetPeak();
  const start = performance.now();
  model.forward(prompt, { lastOnly: true }).dispose();
  const seconds = (performance.now() - start) / 1e3;
  const megabytes = (k.memory.peakBytes - before) / 1e6;
  console.log(
    `${String(nLayers).padStart(3)} layers: ${megabytes.toFixed(1)} MB at most, ${(length / seconds).toFixed(0)} tokens/s`,
  );
  model.dispose();
}
