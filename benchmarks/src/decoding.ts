/**
 * Tokens a second of a Mamba with the sizes of mamba-130m and random weights, decoding one sequence: each token reads
 * every weight once, so reading memory is the limit, and weights of fewer bits are read faster.
 *
 *   node dist/decoding.js [--dtypes float32,float16,bfloat16,int8,int4] [--threads 1,2] [--variant simd|relaxed-simd]
 *                         [--rounds 12] [--prompt 512] [--peers]
 *
 * All dtypes and numbers of threads take turns, of 5 tokens. `--prompt` times a prompt of as many tokens instead, and
 * `--peers` llama.cpp with the same weights beside ours: for this machine, and for WASM as wllama has it. It installs them
 * into `peers/`, 100 MB, and needs Chromium.
 */
import { availableParallelism, cpus } from 'node:os';
import { parseArgs } from 'node:util';
import type { Variant } from '@freelunch/kernels';
import { createModel, type LanguageModel, quantizeModel } from '@freelunch/models';
import { type GgufDType, ggufTypes } from './gguf.js';
import { loadMachine } from './machine.js';
import { type Contender, loadPeers } from './peers.js';
import { kernelsFor, median, threadCounts } from './speed-up.js';

const { values: given } = parseArgs({
  options: {
    variant: { type: 'string', default: 'simd' },
    dtypes: { type: 'string', default: 'float32,float16,bfloat16,int8,int4' },
    rounds: { type: 'string', default: '12' },
    threads: { type: 'string', default: '1' },
    prompt: { type: 'string', default: '0' },
    peers: { type: 'boolean', default: false },
  },
});
const variant = given.variant as Variant;
const promptLength = Number(given.prompt);
const dtypes = given.dtypes.split(',');
const config = { vocabSize: 50280, dModel: 768, nLayers: 24, mixer: { type: 'mamba' } } as const;
const TOKENS = 5;

function ours(model: LanguageModel, dtype: string): Contender {
  const state = model.initialState();
  const time = (run: () => void): number => {
    const start = performance.now();
    run();
    return performance.now() - start;
  };
  return {
    name: 'freelunch',
    dtype,
    threads: model.k.threads,
    bytes: model.weightBytes,
    decode: (tokens) =>
      time(() => {
        for (let n = 0; n < tokens; n++) model.step(n, state).dispose();
      }) / tokens,
    prompt(tokens) {
      const prompt = Int32Array.from({ length: tokens }, (_, i) => (i * 31) % config.vocabSize);
      return time(() => model.forward(prompt, { lastOnly: true }).dispose()) / tokens;
    },
  };
}

const contenders: Contender[] = [];
let weights = 0;
let close = async (): Promise<void> => {};
for (const [i, k] of (await kernelsFor(threadCounts(given.threads), variant)).entries()) {
  const float = createModel(k, config);
  weights = float.parameterCount;
  for (const dtype of dtypes) {
    type Few = Parameters<typeof quantizeModel>[1]['dtype'];
    contenders.push(ours(dtype === 'float32' ? float : quantizeModel(float, { dtype: dtype as Few }), dtype));
  }
  if (!given.peers || i > 0) continue;
  const peers = await loadPeers(
    float,
    (Object.keys(ggufTypes) as GgufDType[]).filter((name) => dtypes.includes(name)),
  );
  contenders.push(...peers.contenders);
  close = peers.close;
}

const machine = await loadMachine(variant);
const reads: number[] = [];
const times = contenders.map((): number[] => []);
const rounds = promptLength === 0 ? Number(given.rounds) : Math.ceil(Number(given.rounds) / 2);
for (let round = -1; round < rounds; round++) {
  reads.push(machine.readGBps());
  for (const [i, contender] of contenders.entries()) {
    const ms = await (promptLength === 0 ? contender.decode(TOKENS) : contender.prompt(promptLength));
    if (round >= 0) times[i].push(ms); // the first one compiles
  }
}
await close();

console.log(
  `${cpus()[0].model.trim()}, ${availableParallelism()} cores, Node ${process.version}, ${variant}; ` +
    `reading memory alone: ${Math.max(...reads).toFixed(1)} GB/s`,
);
const task = promptLength === 0 ? 'decoding' : `a prompt of ${promptLength} tokens`;
console.log(`mamba-130m's sizes, ${(weights / 1e6).toFixed(0)} M weights, ${task}\n`);
const columns = ['', 'dtype', 'threads', 'weights', 'tokens/s', '(median)', 'x first', '(median)'];
const widths = [9, 9, 8, 9, 9, 9, 8, 9];
const print = (cells: readonly string[]) =>
  console.log(cells.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' '));
print(columns);
for (const [i, { name, dtype, threads, bytes }] of contenders.entries()) {
  const rate = (ms: number) => (1e3 / ms).toFixed(1);
  print([
    name,
    dtype,
    String(threads),
    `${(bytes / 1e6).toFixed(0)} MB`,
    rate(Math.min(...times[i])),
    rate(median(times[i])),
    (Math.min(...times[0]) / Math.min(...times[i])).toFixed(2),
    median(times[0].map((of, round) => of / times[i][round])).toFixed(2),
  ]);
}
process.exit(); // threads and llama.cpp may still wait
