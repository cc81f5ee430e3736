import type { Layout } from '../layout.js';

/** Jamba of Transformers. */
export const jamba: Layout = {
  model: { embedding: 'model.embed_tokens', final_norm: 'model.final_layernorm', head: 'lm_head' },
  layer: 'model.layers.#.',
  modules: {
    mixer_norm: 'input_layernorm',
    mamba: 'mamba',
    'mamba.dt_norm': 'mamba.dt_layernorm',
    'mamba.B_norm': 'mamba.b_layernorm',
    'mamba.C_norm': 'mamba.c_layernorm',
    'softmax-attention': 'self_attn',
    mlp_norm: 'pre_ff_layernorm',
    mlp: 'feed_forward',
  },
};
