import type { Models } from './model.js';

/** Layers of one kind, except some with attention. */
const layersWith = (attention: readonly number[], count: number, other = 'mamba'): string[] =>
  Array.from({ length: count }, (_, layer) => (attention.includes(layer) ? 'attention' : other));

/** IBM 2025, https://huggingface.co/collections/ibm-granite/granite-40-language-models. */
const granite = (name: string, config: object): Models => ({
  [name]: {
    repository: `ibm-granite/${name}`,
    config: {
      model_type: 'granitemoehybrid',
      vocab_size: 100352,
      rms_norm_eps: 1e-5,
      tie_word_embeddings: true,
      ...config,
    },
  },
});

const graniteHybrid = (name: string, config: object): Models =>
  granite(name, {
    position_embedding_type: 'nope',
    mamba_d_state: 128,
    mamba_d_conv: 4,
    mamba_expand: 2,
    mamba_n_groups: 1,
    mamba_conv_bias: true,
    mamba_proj_bias: false,
    num_local_experts: 0,
    ...config,
  });

export const granites: Models = {
  ...graniteHybrid('granite-4.0-h-350m', {
    hidden_size: 768,
    shared_intermediate_size: 2048,
    num_hidden_layers: 32,
    layer_types: layersWith([10, 13, 17, 27], 32),
    num_attention_heads: 12,
    num_key_value_heads: 4,
    mamba_n_heads: 48,
    mamba_d_head: 32,
    embedding_multiplier: 12,
    attention_multiplier: 0.015625,
    residual_multiplier: 0.246,
    logits_scaling: 3,
  }),
  // Its multipliers, which cost less than a thousandth of its FLOPs, are left out.
  ...graniteHybrid('granite-4.0-h-1b', {
    hidden_size: 1536,
    shared_intermediate_size: 4096,
    num_hidden_layers: 40,
    layer_types: layersWith([5, 15, 25, 35], 40),
    num_attention_heads: 12,
    num_key_value_heads: 4,
    mamba_n_heads: 48,
    mamba_d_head: 64,
  }),
  ...graniteHybrid('granite-4.0-h-micro', {
    hidden_size: 2048,
    shared_intermediate_size: 8192,
    num_hidden_layers: 40,
    layer_types: layersWith([5, 15, 25, 35], 40),
    num_attention_heads: 32,
    num_key_value_heads: 8,
    mamba_n_heads: 64,
    mamba_d_head: 64,
    embedding_multiplier: 12,
    attention_multiplier: 0.015625,
    residual_multiplier: 0.22,
    logits_scaling: 8,
  }),
  // The Transformers that go with them.
  ...granite('granite-4.0-350m', {
    hidden_size: 1024,
    shared_intermediate_size: 2048,
    num_hidden_layers: 28,
    layer_types: layersWith([], 28, 'attention'),
    num_attention_heads: 16,
    num_key_value_heads: 4,
    num_local_experts: 0,
    position_embedding_type: 'rope',
    embedding_multiplier: 12,
    attention_multiplier: 0.015625,
    residual_multiplier: 0.263,
    logits_scaling: 4,
  }),
  ...granite('granite-4.0-1b', {
    hidden_size: 2048,
    shared_intermediate_size: 4096,
    num_hidden_layers: 40,
    layer_types: layersWith([], 40, 'attention'),
    num_attention_heads: 16,
    num_key_value_heads: 4,
    num_local_experts: 0,
    position_embedding_type: 'rope',
    embedding_multiplier: 12,
    attention_multiplier: 0.0078125,
    residual_multiplier: 0.22,
    logits_scaling: 8,
  }),
  ...granite('granite-4.0-micro', {
    hidden_size: 2560,
    shared_intermediate_size: 8192,
    num_hidden_layers: 40,
    layer_types: layersWith([], 40, 'attention'),
    num_attention_heads: 40,
    num_key_value_heads: 8,
    num_local_experts: 0,
    position_embedding_type: 'rope',
    embedding_multiplier: 12,
    attention_multiplier: 0.015625,
    residual_multiplier: 0.22,
    logits_scaling: 10,
  }),
};
