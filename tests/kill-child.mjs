// Trains one model into a folder, from the newest checkpoint there; says so when it begins, and writes its weights.
import { writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { loadKernels } from '@freelunch/kernels';
import { createModel, train } from '@freelunch/models';

const [folder, result] = process.argv.slice(2);
const k = await loadKernels({ variant: 'simd' });
const model = createModel(k, {
  vocabSize: 17,
  dModel: 32,
  nLayers: 2,
  mixer: { type: 'mamba' },
  mlp: 'gelu',
});

function* batches() {
  for (let n = 1; ; n++) {
    const at = (i) => (n * (i + 3) * (i + 7)) % 17;
    const [batchSize, seqLen] = [2, 16];
    const inputs = Int32Array.from({ length: batchSize * seqLen }, (_, i) => at(i));
    const targets = Int32Array.from({ length: batchSize * seqLen }, (_, i) => at(i + 1));
    yield { inputs, targets, batchSize, seqLen };
  }
}

process.stdout.write('begins\n');
const options = { steps: 60, resume: true, checkpoints: { every: 1, folder, keep: 2 } };
for await (const { step } of train(model, batches, options)) process.stdout.write(`${step}\n`);
const hash = createHash('sha256');
for (const [name, tensor] of model.parameters())
  hash.update(name).update(new Uint8Array(tensor.toArray().buffer));
await writeFile(result, hash.digest('hex'));
