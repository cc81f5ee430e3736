import type { Layout } from '../layout.js';

/** Granite 4 of Transformers. */
export const graniteHybrid: Layout = {
  model: { embedding: 'model.embed_tokens', final_norm: 'model.norm', head: 'lm_head' },
  layer: 'model.layers.#.',
  modules: {
    mixer_norm: 'input_layernorm',
    mamba2: 'mamba',
    'softmax-attention': 'self_attn',
    mlp_norm: 'post_attention_layernorm',
    mlp: 'shared_mlp',
    'mlp.down_proj': 'shared_mlp.output_linear',
  },
  packed: { 'shared_mlp.input_linear': ['mlp.gate_proj', 'mlp.up_proj'] },
};
