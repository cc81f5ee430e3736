import type { Layout } from '../layout.js';

export const falconH1: Layout = {
  model: { embedding: 'model.embed_tokens', final_norm: 'model.final_layernorm', head: 'lm_head' },
  layer: 'model.layers.#.',
  modules: {
    mixer_norm: 'input_layernorm',
    'parallel.mamba2': 'mamba',
    'parallel.softmax-attention': 'self_attn',
    mamba2: 'mamba',
    'softmax-attention': 'self_attn',
    mlp_norm: 'pre_ff_layernorm',
    mlp: 'feed_forward',
  },
};
