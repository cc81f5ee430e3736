/**
 * Tokens a second of a Mamba with the sizes of mamba-130m and random weights, decoding one sequence: each token reads
 * every weight once, so reading memory is the limit, and weights of fewer bits are read faster.
 *
 *   node dist/decoding.js [--dtypes float32,float16,bfloat16,int8,int4] [--threads 1,2] [--variant simd|relaxed-simd]
 *                         [--tokens 60] [--prompt 512]
 *
 * All dtypes and numbers of threads take turns. `--prompt` times a prompt of as many tokens instead.
 */
import { availableParallelism, cpus } from 'node:os';
import { parseArgs } from 'node:util';
import type { Variant } from '@freelunch/kernels';
import { createModel, type LanguageModel, quantizeModel } from '@freelunch/models';
import { loadMachine } from './machine.js';
import { kernelsFor, median, threadCounts } from './speed-up.js';

const { values: given } = parseArgs({
  options: {
    variant: { type: 'string', default: 'simd' },
    dtypes: { type: 'string', default: 'float32,float16,bfloat16,int8,int4' },
    tokens: { type: 'string', default: '60' },
    threads: { type: 'string', default: '1' },
    prompt: { type: 'string', default: '0' },
  },
});
const variant = given.variant as Variant;
const promptLength = Number(given.prompt);
const config = { vocabSize: 50280, dModel: 768, nLayers: 24, mixer: { type: 'mamba' } } as const;

type DType = 'float32' | Parameters<typeof quantizeModel>[1]['dtype'];

/** One model, and what a token of it, or the prompt, takes. */
interface Entry {
  dtype: DType;
  model: LanguageModel;
  state: ReturnType<LanguageModel['initialState']>;
  ms: number[];
}

const entries: Entry[] = [];
for (const k of await kernelsFor(threadCounts(given.threads), variant)) {
  const float = createModel(k, config);
  for (const dtype of given.dtypes.split(',') as DType[]) {
    const model = dtype === 'float32' ? float : quantizeModel(float, { dtype });
    entries.push({ dtype, model, state: model.initialState(), ms: [] });
  }
}

const machine = await loadMachine(variant);
const prompt = Int32Array.from({ length: promptLength }, (_, i) => (i * 31) % config.vocabSize);
const take = ({ model, state }: Entry, token: number): number => {
  const start = performance.now();
  if (promptLength === 0) model.step(token, state).dispose();
  else model.forward(prompt, { lastOnly: true }).dispose();
  return performance.now() - start;
};
const reads: number[] = [];
const turns = promptLength === 0 ? Number(given.tokens) : 7;
for (let n = -2; n < turns; n++) {
  if (n % 10 === 0) reads.push(machine.readGBps());
  for (const entry of entries) {
    const ms = take(entry, n + 2);
    if (n >= 0) entry.ms.push(ms); // the first ones compile
  }
}

console.log(
  `${cpus()[0].model.trim()}, ${availableParallelism()} cores, Node ${process.version}, ${variant}; ` +
    `reading memory alone: ${Math.max(...reads).toFixed(1)} GB/s`,
);
const task = promptLength === 0 ? 'decoding' : `a prompt of ${promptLength} tokens`;
console.log(`mamba-130m's sizes, ${(entries[0].model.parameterCount / 1e6).toFixed(0)} M weights, ${task}\n`);
const columns = ['dtype', 'threads', 'weights', 'tokens/s', '(median)', 'x first', '(median)'];
const widths = [9, 8, 9, 9, 9, 8, 9];
const print = (cells: readonly string[]) =>
  console.log(
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' '),
  );
print(columns);
const [first] = entries;
for (const { dtype, model, ms } of entries) {
  const rate = (each: number) => ((1e3 * Math.max(1, promptLength)) / each).toFixed(1);
  print([
    dtype,
    String(model.k.threads),
    `${(model.weightBytes / 1e6).toFixed(0)} MB`,
    rate(Math.min(...ms)),
    rate(median(ms)),
    (Math.min(...first.ms) / Math.min(...ms)).toFixed(2),
    median(first.ms.map((of, i) => of / ms[i])).toFixed(2),
  ]);
}
process.exit(); // workers of threads may still wait
