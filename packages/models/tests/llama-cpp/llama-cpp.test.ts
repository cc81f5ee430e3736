/** The same GGUF files, loaded by llama.cpp and here: `npm run llama-cpp` installs it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadKernels } from '@freelunch/kernels';
import { afterAll, describe, expect, it } from 'vitest';
import { loadPretrained } from '../../src/checkpoints/checkpoint.js';
import { unpackable } from '../../src/checkpoints/gguf/unpack.js';
import { architectures, configOf, type Sample, sampleOf } from '../gguf-samples.js';
import { type TypeName, vocabularyOf, writeGguf } from '../gguf-writer.js';
import { findLlama, type Llama, logProbabilities, whyMissing } from './llama-cpp.js';

const llama = await findLlama();
const k = await loadKernels({ variant: 'simd' });
const directory = await mkdtemp(join(tmpdir(), 'freelunch-llama-cpp-'));
const VOCAB = 40;
const tokens = [1, 7, 0, 39, 12, 5, 5, 30, 22, 8, 1, 7];

afterAll(async () => {
  await rm(directory, { recursive: true });
  if (typeof llama !== 'string') await llama.dispose();
});

const vocabulary = vocabularyOf(
  Array.from({ length: VOCAB }, (_, i) => String.fromCharCode(65 + i)),
  ['A B'],
);

function logSoftmax(logits: ArrayLike<number>): number[] {
  const all = Array.from(logits);
  const largest = Math.max(...all);
  const total = all.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
  return all.map((logit) => logit - largest - Math.log(total));
}

/** The largest difference of their log probabilities and ours, and how far theirs are apart. */
async function compare(
  llama: Llama,
  name: string,
  { entries, tensors, model }: Sample,
  options?: { dtype: 'float32' },
) {
  model.dispose();
  const path = join(directory, `${name}.gguf`);
  await writeFile(path, writeGguf({ entries: [...entries, ...vocabulary], tensors }));
  const theirs = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
  const want = await logProbabilities(theirs, tokens);
  await theirs.dispose();
  using ours = await loadPretrained(k, path, options);
  await rm(path);
  const logits = k.scope(() => ours.forward([tokens]).toArray());
  const got = tokens.map((_, i) => logSoftmax(logits.slice(i * VOCAB, (i + 1) * VOCAB)));
  expect(want.map((row) => row.length)).toEqual(tokens.map(() => VOCAB));
  return {
    difference: Math.max(...got.flatMap((row, i) => row.map((value, j) => Math.abs(value - want[i][j])))),
    spread: Math.max(...want.flat()) - Math.min(...want.flat()),
  };
}

/**
 * The largest difference of log probabilities, by the type of the matrices: some three times what was found. Both sides
 * take the same weights. llama.cpp rounds what it multiplies them with: not for F32, to half floats for F16, to bfloat16
 * for BF16, to blocks of 8-bit numbers for all others.
 */
const tolerances = { F32: 3e-6, F16: 4e-3, BF16: 4e-2, Q8_0: 0.1, Q4_0: 0.1, Q4_K: 0.15, Q6_K: 0.1 } as const;
/** llama.cpp looks gelu up in a table of half floats. */
const GELU = 6e-4;

describe.skipIf(typeof llama === 'string')(`llama.cpp${whyMissing(llama)}`, () => {
  const installed = llama as Llama;
  const cases = architectures.flatMap((architecture) =>
    (Object.keys(tolerances) as (keyof typeof tolerances)[]).map((type) => [architecture, type] as const),
  );

  it.each(cases)('predicts of %s in %s what is predicted here', async (architecture, type) => {
    const sample = sampleOf(k, architecture, type, configOf(architecture, 256));
    const { difference, spread } = await compare(installed, `${architecture}-${type}`, sample);
    expect(spread).toBeGreaterThan(1);
    expect(difference).toBeLessThan(tolerances[type] + (architecture === 'gpt2' ? GELU : 0));
  });

  // Rows of embeddings are looked up, not multiplied: nothing but the weights themselves is rounded.
  it.each(unpackable.filter((type) => type !== 'F64') as TypeName[])(
    'unpacks %s to the same weights',
    async (type) => {
      const config = configOf('llama', 256);
      const sample = sampleOf(k, 'llama', type, config, (name) => name === 'token_embd.weight');
      const { difference } = await compare(installed, `embedding-${type}`, sample, { dtype: 'float32' });
      expect(difference).toBeLessThan(tolerances.F32);
    },
  );
});
