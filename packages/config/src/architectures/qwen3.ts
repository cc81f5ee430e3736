import { flag, whole } from '../fields.js';
import { architecture, type Writer } from './architecture.js';
import { llamaAttention, llamaConfig, llamaFields } from './llama.js';
import { sliding, slidingFile, slidingMixers } from './qwen2.js';

const fields = {
  ...llamaFields,
  vocab_size: whole(151936),
  intermediate_size: whole(22016),
  num_key_value_heads: whole(32),
  head_dim: whole(128),
  attention_bias: flag(false), // of all four projections
  ...sliding,
};

/** Qwen3 (Yang et al. 2025, arXiv:2505.09388): Llama with norms of queries and keys. */
export const qwen3 = architecture({
  type: 'qwen3',
  classes: ['Qwen3ForCausalLM'],
  fields,
  toConfig: (f, place) =>
    llamaConfig(
      f,
      place,
      slidingMixers(f, place, llamaAttention(f, { bias: f.attention_bias, qkNorm: true })),
    ),
});

export const writeQwen3: Writer = (config) =>
  slidingFile(qwen3, config, ({ bias }) => ({ attention_bias: bias }));
