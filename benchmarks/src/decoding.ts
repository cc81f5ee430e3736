/**
 * Tokens a second of a Mamba with the sizes of mamba-130m and random weights, decoding one sequence: each token reads
 * every weight once, so reading memory is the limit.
 *
 *   node dist/decoding.js [--variant simd|relaxed-simd] [--tokens 60] [--threads 1,2] [--prompt 512]
 *
 * With several numbers of threads they take turns. `--prompt` times a prompt of as many tokens instead.
 */
import { availableParallelism, cpus } from 'node:os';
import { parseArgs } from 'node:util';
import type { Variant } from '@freelunch/kernels';
import { createModel } from '@freelunch/models';
import { loadMachine } from './machine.js';
import { kernelsFor, median, threadCounts } from './speed-up.js';

const { values: given } = parseArgs({
  options: {
    variant: { type: 'string', default: 'simd' },
    tokens: { type: 'string', default: '60' },
    threads: { type: 'string', default: '1' },
    prompt: { type: 'string', default: '0' },
  },
});
const variant = given.variant as Variant;
const all = await kernelsFor(threadCounts(given.threads), variant);
const machine = await loadMachine(variant);
const promptLength = Number(given.prompt);
console.log(
  `${cpus()[0].model.trim()}, ${availableParallelism()} cores, Node ${process.version}, ${variant}`,
);
const config = { vocabSize: 50280, dModel: 768, nLayers: 24, mixer: { type: 'mamba' } } as const;
const models = all.map((k) => createModel(k, config));
const states = models.map((model) => model.initialState());
const prompt = Int32Array.from({ length: promptLength }, (_, i) => (i * 31) % config.vocabSize);
/** Milliseconds of a token, or of the prompt. */
const turn = (i: number, token: number): number => {
  const start = performance.now();
  if (promptLength === 0) models[i].step(token, states[i]).dispose();
  else models[i].forward(prompt, { lastOnly: true }).dispose();
  return performance.now() - start;
};
const reads: number[] = [];
const times: number[][] = models.map(() => []);
const turns = promptLength === 0 ? Number(given.tokens) : 7;
for (let n = -2; n < turns; n++) {
  if (n % 10 === 0) reads.push(machine.readGBps());
  for (const i of models.keys()) {
    const ms = turn(i, n + 2);
    if (n >= 0) times[i].push(ms); // the first ones compile
  }
}
const { parameterCount } = models[0];
console.log(
  `mamba-130m's sizes, ${(parameterCount / 1e6).toFixed(0)} M weights; reading alone: ${Math.max(...reads).toFixed(1)} GB/s`,
);
for (const i of models.keys()) {
  const [middle, best] = [median(times[i]), Math.min(...times[i])];
  const tokens = (ms: number) => `${((1e3 * Math.max(1, promptLength)) / ms).toFixed(1)} tokens/s`;
  const rate = promptLength === 0 ? `, ${((parameterCount * 4) / middle / 1e6).toFixed(1)} GB/s` : '';
  const faster =
    i === 0
      ? ''
      : `, ${(Math.min(...times[0]) / best).toFixed(2)} x (median ${(median(times[0]) / middle).toFixed(2)})`;
  console.log(
    `${all[i].threads} thread(s): ${tokens(middle)} in the median, ${tokens(best)} at best${rate}${faster}`,
  );
}
