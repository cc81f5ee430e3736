import type { Layout } from '../layout.js';

/** All of state-spaces' mamba_ssm that Transformers has no form for. */
export const mambaSsm: Layout = {
  model: { embedding: 'backbone.embedding', final_norm: 'backbone.norm_f', head: 'lm_head' },
  layer: 'backbone.layers.#.',
  modules: {
    mixer_norm: 'norm',
    mixer: 'mixer',
    'softmax-attention.o_proj': 'mixer.out_proj',
    mlp_norm: 'norm2',
    mlp: 'mlp',
    'mlp.down_proj': 'mlp.fc2',
  },
  packed: {
    'mixer.in_proj': ['softmax-attention.q_proj', 'softmax-attention.k_proj', 'softmax-attention.v_proj'],
    'mixer.conv1d': [
      'softmax-attention.q_conv1d',
      'softmax-attention.k_conv1d',
      'softmax-attention.v_conv1d',
    ],
    'mlp.fc1': ['mlp.up_proj', 'mlp.gate_proj'], // the gate comes second
  },
};
