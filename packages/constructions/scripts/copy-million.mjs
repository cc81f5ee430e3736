/**
 * Constructed COPY, counted: random strings through `generate` until a million symbols a mixer are copied.
 *
 *   node packages/constructions/scripts/copy-million.mjs [--mixers softmax-attention,mamba] [--lengths 64,512]
 *       [--symbols 1000000] [--batch 32] [--seed 0] [--variant simd]
 *
 * Of the symbols a mixer gets, the longest strings take what the shorter ones leave: each of those has a tenth. A string
 * counts as many symbols as it has letters and one for its end. Prints a line for each mixer and length. With Mamba a
 * batch of 32 strings of 4,096 letters takes 4 GB while the prompt is read.
 */
import { parseArgs } from 'node:util';
import { copyModelPlan } from '@freelunch/constructions';
import { loadKernels } from '@freelunch/kernels';
import { copy, random } from '@freelunch/tasks';

const { values: given } = parseArgs({
  options: {
    mixers: { type: 'string', default: 'softmax-attention,mamba,linear-attention' },
    lengths: { type: 'string', default: '64,512,4096' },
    symbols: { type: 'string', default: '1000000' },
    batch: { type: 'string', default: '32' },
    seed: { type: 'string', default: '0' },
    variant: { type: 'string', default: 'simd' },
  },
});
const mixers = given.mixers.split(',');
const lengths = given.lengths.split(',').map(Number);
const symbols = Number(given.symbols);
const batch = Number(given.batch);
const vocabSize = 26;

const k = await loadKernels({ variant: given.variant });
const abort = new AbortController();
process.once('SIGINT', () => abort.abort(new Error('stopped')));
const showProgress = process.stderr.isTTY;

/** Copies random strings of one length until `count` symbols are generated. */
async function count(model, length, wanted, rng, progress) {
  const task = copy({ vocabSize, length });
  let [generated, wrong] = [0, 0];
  while (generated < wanted) {
    const rows = Math.min(batch, Math.ceil((wanted - generated) / (length + 1)));
    const samples = Array.from({ length: rows }, () => task.sample(rng));
    const due = samples.map(({ tokens, prompt }) => tokens.slice(prompt.length));
    const prompts = samples.map(({ prompt }) => prompt);
    let at = 0;
    for await (const tokens of model.generate(prompts, { maxTokens: length + 1, signal: abort.signal })) {
      tokens.forEach((token, row) => (wrong += Number(token !== due[row][at])));
      at++;
      if (showProgress && at % 64 === 0) progress(generated + at * rows);
    }
    generated += rows * at;
  }
  return { generated, wrong };
}

const header = ['mixer', 'T', 'symbols', 'wrong', 'seconds', 'parameters', 'floats kept'];
const widths = [18, 6, 9, 6, 8, 11, 12];
const line = (cells) => cells.map((cell, i) => String(cell).padStart(widths[i])).join(' ');
console.log(`${vocabSize} letters, ${given.variant} kernels, batches of ${batch}, seed ${given.seed}`);
console.log(line(header));
for (const mixer of mixers) {
  for (const length of lengths) {
    const rng = random(Number(given.seed)).split(mixer).split(length);
    const short = symbols / 10;
    const longest = length === Math.max(...lengths);
    const wanted = longest ? symbols - short * (lengths.length - 1) : short;
    const plan = copyModelPlan({ mixer, length, vocabSize });
    const model = plan.build(k);
    const start = performance.now();
    const { generated, wrong } = await count(model, length, wanted, rng, (done) =>
      process.stderr.write(`\r${mixer} ${length}: ${done} of ${Math.ceil(wanted)} symbols\x1b[K`),
    );
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    if (showProgress) process.stderr.write('\r\x1b[K');
    const kept = plan.floatsKept(2 * length + 2);
    console.log(line([mixer, length, generated, wrong, seconds, model.parameterCount, kept]));
    model.dispose();
  }
}
