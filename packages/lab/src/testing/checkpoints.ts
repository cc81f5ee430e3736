/** For tests: checkpoints of a few kilobytes. */
import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { loadKernels } from '@freelunch/kernels';
import { createModel, type ModelConfig, savePretrained } from '@freelunch/models';

export const tinyConfig: ModelConfig = {
  vocabSize: 256,
  dModel: 32,
  nLayers: 3,
  mixer: [
    { type: 'mamba', dState: 4 },
    { type: 'softmax-attention', nHeads: 2 },
    { type: 'mamba', dState: 4 },
  ],
  tieEmbeddings: false,
};

/** As GPT-2 writes bytes: those that can be seen stand for themselves, the others for letters from 256 on. */
function letters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const isSeen = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    return String.fromCodePoint(isSeen ? byte : next++);
  });
}

/** A tokenizer.json whose tokens are the bytes of a text. */
export const byteTokenizer = JSON.stringify({
  version: '1.0',
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true },
  post_processor: null,
  decoder: { type: 'ByteLevel' },
  model: {
    type: 'BPE',
    vocab: Object.fromEntries(letters().map((letter, byte) => [letter, byte])),
    merges: [],
  },
});

/** Writes a checkpoint into a new folder: random weights, and the tokenizer above unless told otherwise. */
export async function writeCheckpoint(
  folder: string,
  { config = tinyConfig, tokenizer = true, dtype = 'BF16' as 'F32' | 'BF16' } = {},
): Promise<void> {
  using k = await loadKernels({ variant: 'simd' });
  using model = createModel(k, config);
  await savePretrained(folder, model, { dtype });
  if (tokenizer) writeFileSync(join(folder, 'tokenizer.json'), byteTokenizer);
}
