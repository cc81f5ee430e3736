/** Texts by the tokenizers of GGUF files, as llama.cpp takes them to tokens and as they are taken here. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadKernels } from '@freelunch/kernels';
import { afterAll, describe, expect, it } from 'vitest';
import { loadTokenizer } from '../../src/tokenizer.js';
import { configOf, sampleOf } from '../gguf-samples.js';
import { bytePairVocabulary, sentencePieceVocabulary, texts } from '../gguf-vocabularies.js';
import { writeGguf } from '../gguf-writer.js';
import { findLlama, type Llama, whyMissing } from './llama-cpp.js';

const llama = await findLlama();
const k = await loadKernels({ variant: 'simd' });
const directory = await mkdtemp(join(tmpdir(), 'freelunch-llama-cpp-'));

afterAll(async () => {
  await rm(directory, { recursive: true });
  if (typeof llama !== 'string') await llama.dispose();
});

describe.skipIf(typeof llama === 'string')(`llama.cpp${whyMissing(llama)}`, () => {
  const installed = llama as Llama;
  it.each([
    ...['gpt-2', 'mpt', 'olmo', 'llama-bpe', 'qwen2', 'smollm'].map(
      (pre) => [pre, bytePairVocabulary(pre)] as const,
    ),
    ['SentencePiece', sentencePieceVocabulary()] as const,
    [
      'SentencePiece without a space before',
      sentencePieceVocabulary([['tokenizer.ggml.add_space_prefix', 'bool', false]]),
    ] as const,
  ])('takes texts to the same tokens and back: %s', async (name, { size, entries }) => {
    const config = { ...configOf('llama'), vocabSize: size, nLayers: 1 };
    const { model, ...sample } = sampleOf(k, 'llama', 'F32', config);
    model.dispose();
    const others = sample.entries.filter(([key]) => key !== 'llama.vocab_size');
    const path = join(directory, `${name}.gguf`);
    await writeFile(path, writeGguf({ ...sample, entries: [...others, ...entries] }));
    const theirs = await installed.loadModel({ modelPath: path, gpuLayers: 0, vocabOnly: true });
    const ours = await loadTokenizer(path);
    expect(ours.size).toBe(size);
    for (const text of texts) {
      const want = theirs.tokenize(text, true);
      const got = ours.encode(text, { special: false });
      expect(got, text).toEqual([...want]);
      expect(ours.decode(got, { special: true }), text).toBe(theirs.detokenize(want, true));
    }
    const begins = ours.encode('the')[0] === theirs.tokens.bos;
    expect(begins).toBe(theirs.tokens.shouldPrependBosToken);
    await theirs.dispose();
    await rm(path);
  });
});
