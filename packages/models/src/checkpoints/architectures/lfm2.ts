import type { Layout } from '../layout.js';

export const lfm2: Layout = {
  model: { embedding: 'model.embed_tokens', final_norm: 'model.embedding_norm', head: 'lm_head' },
  layer: 'model.layers.#.',
  modules: {
    mixer_norm: 'operator_norm',
    'short-conv': 'conv',
    'short-conv.conv1d': 'conv.conv',
    'softmax-attention': 'self_attn',
    'softmax-attention.q_norm': 'self_attn.q_layernorm',
    'softmax-attention.k_norm': 'self_attn.k_layernorm',
    'softmax-attention.o_proj': 'self_attn.out_proj',
    mlp_norm: 'ffn_norm',
    'mlp.gate_proj': 'feed_forward.w1',
    'mlp.up_proj': 'feed_forward.w3',
    'mlp.down_proj': 'feed_forward.w2',
  },
};
