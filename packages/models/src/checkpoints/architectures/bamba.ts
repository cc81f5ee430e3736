import type { Layout } from '../layout.js';

/** Bamba of Transformers. */
export const bamba: Layout = {
  model: { embedding: 'model.embed_tokens', final_norm: 'model.final_layernorm', head: 'lm_head' },
  layer: 'model.layers.#.',
  modules: {
    mixer_norm: 'input_layernorm',
    mamba2: 'mamba',
    'softmax-attention': 'self_attn',
    mlp_norm: 'pre_ff_layernorm',
    mlp: 'feed_forward',
  },
};
