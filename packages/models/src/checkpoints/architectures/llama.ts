import type { Layout } from '../layout.js';

/** Llama of Transformers, and what descends from it. */
export const llama: Layout = {
  model: {
    embedding: 'model.embed_tokens',
    positions: 'model.embed_positions',
    final_norm: 'model.norm',
    head: 'lm_head',
  },
  layer: 'model.layers.#.',
  modules: {
    mixer_norm: 'input_layernorm',
    mixer: 'self_attn',
    mlp_norm: 'post_attention_layernorm',
    mlp: 'mlp',
  },
  read(name) {
    // Copies of the bare model lack the prefix.
    const full = /^(embed_tokens|layers|norm)\./.test(name) ? `model.${name}` : name;
    // Rotary frequencies, which old checkpoints hold as tensors.
    return /^model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq$/.test(full) ? undefined : full;
  },
};
