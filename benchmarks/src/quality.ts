/**
 * What weights of fewer bits cost in quality: perplexity, on text that it was not trained on, of a small byte-level
 * Mamba that was trained on this project's own sources; and the largest error of its logits.
 *
 *   node dist/quality.js [--steps 600]
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadKernels } from '@freelunch/kernels';
import { createModel, evaluate, type LanguageModel, quantizeModel, train } from '@freelunch/models';
import { random } from '@freelunch/random';

const { values: given } = parseArgs({ options: { steps: { type: 'string', default: '600' } } });
const steps = Number(given.steps);
const packages = fileURLToPath(new URL('../../packages', import.meta.url));

/** Sources in a fixed order, as bytes: every tenth file is held out. */
function readTexts(): { training: Uint8Array; heldOut: Uint8Array } {
  const files = readdirSync(packages)
    .flatMap((name) =>
      readdirSync(join(packages, name, 'src'), { recursive: true }).map((file) =>
        join(packages, name, 'src', String(file)),
      ),
    )
    .filter((file) => file.endsWith('.ts'))
    .sort();
  const texts = files.map((file) => readFileSync(file));
  const join10 = (held: boolean) => Buffer.concat(texts.filter((_, i) => (i % 10 === 9) === held));
  return { training: join10(false), heldOut: join10(true) };
}

const k = await loadKernels({ variant: 'simd', threads: 'auto' });
const { training, heldOut } = readTexts();
const [batchSize, seqLen] = [8, 256];
const model = createModel(k, { vocabSize: 256, dModel: 128, nLayers: 2, mixer: { type: 'mamba' }, seed: 1 });

function* batches() {
  const rng = random(1).split('places');
  for (;;) {
    const inputs = new Int32Array(batchSize * seqLen);
    const targets = new Int32Array(batchSize * seqLen);
    for (let b = 0; b < batchSize; b++) {
      const start = rng.integer(training.length - seqLen);
      inputs.set(training.subarray(start, start + seqLen), b * seqLen);
      targets.set(training.subarray(start + 1, start + seqLen + 1), b * seqLen);
    }
    yield { inputs, targets, batchSize, seqLen };
  }
}

for await (const { step, loss } of train(model, batches(), { steps, learningRate: 3e-3 }))
  if (step % 100 === 0) process.stderr.write(`\rstep ${step} of ${steps}, loss ${loss.toFixed(3)} `);
process.stderr.write('\n');

const text = Int32Array.from(heldOut.subarray(0, 50_000));
const logitsOf = (of: LanguageModel) => k.scope(() => of.forward(text.subarray(0, 512)).toArray());
const exact = logitsOf(model);
const deviation = Math.sqrt(exact.reduce((sum, logit) => sum + logit * logit, 0) / exact.length);
const { perplexity } = await evaluate(model, text);
console.log(
  `Mamba of ${(model.parameterCount / 1e3).toFixed(0)} thousand weights, trained for ${steps} steps on ${(training.length / 1e6).toFixed(1)} MB; ${text.length} bytes held out\n`,
);
console.log('dtype      weights  perplexity   change   error of logits (of their root mean square)');
console.log(
  `float32   ${(model.weightBytes / 1e6).toFixed(2).padStart(5)} MB  ${perplexity.toFixed(4).padStart(10)}`,
);
for (const dtype of ['float16', 'bfloat16', 'int8', 'int4'] as const) {
  using few = quantizeModel(model, { dtype });
  const found = (await evaluate(few, text)).perplexity;
  const error = logitsOf(few).reduce((most, logit, i) => Math.max(most, Math.abs(logit - exact[i])), 0);
  console.log(
    `${dtype.padEnd(9)} ${(few.weightBytes / 1e6).toFixed(2).padStart(5)} MB  ${found.toFixed(4).padStart(10)}  ` +
      `${(100 * (found / perplexity - 1)).toFixed(3).padStart(6)} %   ${((100 * error) / deviation).toFixed(2)} %`,
  );
}
process.exit();
