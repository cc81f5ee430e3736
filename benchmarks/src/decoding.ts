/**
 * Tokens a second of a Mamba with the sizes of mamba-130m and random weights, decoding one sequence: each token reads
 * every weight once, so reading memory is the limit.
 *
 *   node dist/decoding.js [--variant simd|relaxed-simd] [--tokens 60]
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { loadKernels, type Variant } from '@freelunch/kernels';
import { createModel } from '@freelunch/models';
import { loadMachine } from './machine.js';

const { values: given } = parseArgs({
  options: { variant: { type: 'string', default: 'simd' }, tokens: { type: 'string', default: '60' } },
});
const variant = given.variant as Variant;
const k = await loadKernels({ variant });
const machine = await loadMachine(variant);
console.log(`${cpus()[0].model.trim()}, Node ${process.version}, one thread, ${variant}`);
const config = { vocabSize: 50280, dModel: 768, nLayers: 24, mixer: { type: 'mamba' } } as const;
const model = createModel(k, config);
const state = model.initialState();
const bytes = model.parameterCount * 4;
const step = (token: number): number => {
  const start = performance.now();
  model.step(token, state).dispose();
  return performance.now() - start;
};
for (let i = 0; i < 5; i++) step(i);
const reads: number[] = [];
const times: number[] = [];
for (let i = 0; i < Number(given.tokens); i++) {
  if (i % 10 === 0) reads.push(machine.readGBps());
  times.push(step(i));
}
times.sort((a, b) => a - b);
reads.sort((a, b) => b - a);
const median = times[times.length >> 1];
const rate = bytes / median / 1e6;
console.log(
  `mamba-130m's sizes, ${(model.parameterCount / 1e6).toFixed(0)} M weights: ${(1e3 / median).toFixed(1)} tokens/s, ` +
    `median ${median.toFixed(1)} ms, best ${times[0].toFixed(1)} ms\n` +
    `${rate.toFixed(1)} GB/s, ${((100 * rate) / reads[0]).toFixed(0)} % of the ${reads[0].toFixed(1)} GB/s that reading alone reaches`,
);
