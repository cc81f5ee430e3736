import type { Layout } from '../layout.js';

export const zamba2: Layout = {
  model: { embedding: 'model.embed_tokens', final_norm: 'model.final_layernorm', head: 'lm_head' },
  layer: 'model.layers.#.',
  modules: {
    mixer_norm: 'input_layernorm',
    mamba2: 'mamba',
    'after_shared.mixer_norm': 'mamba_decoder.input_layernorm',
    'after_shared.mamba2': 'mamba_decoder.mamba',
    shared_linear: 'linear',
    'shared.mixer_norm': 'shared_transformer.input_layernorm',
    'shared.attention': 'shared_transformer.self_attn',
    'shared.attention.q_adapter': 'shared_transformer.self_attn.linear_q_adapter_list',
    'shared.attention.k_adapter': 'shared_transformer.self_attn.linear_k_adapter_list',
    'shared.attention.v_adapter': 'shared_transformer.self_attn.linear_v_adapter_list',
    'shared.mlp_norm': 'shared_transformer.pre_ff_layernorm',
    'shared.mlp': 'shared_transformer.feed_forward',
    'shared.mlp.adapter': 'shared_transformer.feed_forward.gate_up_proj_adapter_list',
  },
};
