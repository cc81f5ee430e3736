/**
 * Models that people run, by short names: what the config.json of each says of its sizes, in its own terms, to be read by
 * the reader of all config.json. Fields that change neither sizes nor costs are left out, and so are those that have
 * the reader's default.
 */
import { granites } from './published/granite.js';
import { type Models } from './published/model.js';

const stateSpaces = (
  ssm_cfg: object,
  pad_vocab_size_multiple: number,
  models: readonly [string, number, number][],
): Models =>
  Object.fromEntries(
    models.map(([name, d_model, n_layer]) => [
      name,
      {
        repository: `state-spaces/${name}`,
        config: { d_model, n_layer, vocab_size: 50277, ssm_cfg, pad_vocab_size_multiple },
      },
    ]),
  );

/** Gu & Dao 2023, arXiv:2312.00752. */
const mamba = stateSpaces({}, 8, [
  ['mamba-130m', 768, 24],
  ['mamba-370m', 1024, 48],
  ['mamba-790m', 1536, 48],
  ['mamba-1.4b', 2048, 48],
  ['mamba-2.8b', 2560, 64],
]);

/** Dao & Gu 2024, arXiv:2405.21060. */
const mamba2 = stateSpaces({ layer: 'Mamba2' }, 16, [
  ['mamba2-130m', 768, 24],
  ['mamba2-370m', 1024, 48],
  ['mamba2-780m', 1536, 48],
  ['mamba2-1.3b', 2048, 48],
  ['mamba2-2.7b', 2560, 64],
]);

/** TII 2024, arXiv:2410.05355. */
const falconMamba: Models = {
  'falcon-mamba-7b': {
    repository: 'tiiuae/falcon-mamba-7b',
    config: {
      model_type: 'falcon_mamba',
      vocab_size: 65024,
      hidden_size: 4096,
      intermediate_size: 8192,
      num_hidden_layers: 64,
      state_size: 16,
      conv_kernel: 4,
      time_step_rank: 256,
      tie_word_embeddings: false,
    },
  },
};

/** Lieber et al. 2024, arXiv:2403.19887. */
const jamba: Models = {
  'jamba-v0.1': {
    repository: 'ai21labs/Jamba-v0.1',
    config: {
      model_type: 'jamba',
      vocab_size: 65536,
      hidden_size: 4096,
      intermediate_size: 14336,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      attn_layer_period: 8,
      attn_layer_offset: 4,
      expert_layer_period: 2,
      expert_layer_offset: 1,
      num_experts: 16,
      num_experts_per_tok: 2,
      mamba_d_state: 16,
      mamba_d_conv: 4,
      mamba_expand: 2,
      mamba_dt_rank: 256,
    },
  },
};

/** TII 2025, arXiv:2507.22448. */
const falconH1: Models = {
  'falcon-h1-0.5b': {
    repository: 'tiiuae/Falcon-H1-0.5B-Base',
    config: {
      model_type: 'falcon_h1',
      vocab_size: 32784,
      hidden_size: 1024,
      intermediate_size: 2048,
      num_hidden_layers: 36,
      num_attention_heads: 8,
      num_key_value_heads: 2,
      head_dim: 64,
      mamba_d_ssm: 1536,
      mamba_n_heads: 24,
      mamba_d_head: 64,
      mamba_d_state: 128,
      mamba_d_conv: 4,
      mamba_n_groups: 1,
      mamba_conv_bias: true,
      mamba_proj_bias: false,
      mamba_rms_norm: false,
      mamba_norm_before_gate: false,
      embedding_multiplier: 5.656854249492381,
      lm_head_multiplier: 0.0390625,
      key_multiplier: 0.39062499999999994,
      attention_in_multiplier: 1,
      attention_out_multiplier: 0.9375,
      ssm_in_multiplier: 1.25,
      ssm_out_multiplier: 0.23570226039551587,
      ssm_multipliers: [0.3535533905932738, 0.25, 0.3535533905932738, 0.5, 0.3535533905932738],
      mlp_multipliers: [0.8838834764831844, 0.5859375],
      rope_theta: 1e11,
      tie_word_embeddings: false,
    },
  },
};

/** NVIDIA 2025, arXiv:2504.03624. */
const nemotronH: Models = {
  'nemotron-h-8b': {
    repository: 'nvidia/Nemotron-H-8B-Base-8K',
    config: {
      model_type: 'nemotron_h',
      vocab_size: 131072,
      hidden_size: 4096,
      intermediate_size: 21504,
      num_hidden_layers: 52,
      hybrid_override_pattern: 'M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-',
      num_attention_heads: 32,
      num_key_value_heads: 8,
      attention_head_dim: 128,
      mamba_num_heads: 128,
      mamba_head_dim: 64,
      ssm_state_size: 128,
      n_groups: 8,
      conv_kernel: 4,
      mlp_hidden_act: 'relu2',
      tie_word_embeddings: false,
    },
  },
};

/** IBM et al. 2024, https://huggingface.co/blog/bamba. */
const bamba: Models = {
  'bamba-9b': {
    repository: 'ibm-ai-platform/Bamba-9B-v1',
    config: {
      model_type: 'bamba',
      vocab_size: 128256,
      hidden_size: 4096,
      intermediate_size: 14336,
      num_hidden_layers: 32,
      attn_layer_indices: [9, 18, 27],
      num_attention_heads: 32,
      num_key_value_heads: 8,
      mamba_n_heads: 128,
      mamba_d_head: 64,
      mamba_d_state: 128,
      mamba_d_conv: 4,
      mamba_n_groups: 1,
      mamba_expand: 2,
      tie_word_embeddings: false,
    },
  },
};

/** Zyphra 2024, arXiv:2411.15242. */
const zamba2: Models = {
  'zamba2-1.2b': {
    repository: 'Zyphra/Zamba2-1.2B',
    config: {
      model_type: 'zamba2',
      vocab_size: 32000,
      hidden_size: 2048,
      intermediate_size: 8192,
      num_hidden_layers: 38,
      hybrid_layer_ids: [5, 11, 17, 23, 29, 35],
      num_mem_blocks: 1,
      use_shared_attention_adapter: true,
      adapter_rank: 128,
      use_mem_rope: true,
      num_attention_heads: 32,
      num_key_value_heads: 32,
      n_mamba_heads: 64,
      mamba_ngroups: 1,
      mamba_d_state: 128,
      mamba_d_conv: 4,
      mamba_expand: 2,
      tie_word_embeddings: true,
    },
  },
};

/** Liquid AI 2025, https://huggingface.co/LiquidAI. */
const lfm2: Models = {
  'lfm2-350m': {
    repository: 'LiquidAI/LFM2-350M',
    config: {
      model_type: 'lfm2',
      vocab_size: 65536,
      hidden_size: 1024,
      block_ff_dim: 6656,
      block_auto_adjust_ff_dim: true,
      block_ffn_dim_multiplier: 1,
      block_multiple_of: 256,
      num_hidden_layers: 16,
      full_attn_idxs: [2, 5, 8, 10, 12, 14],
      num_attention_heads: 16,
      num_key_value_heads: 8,
      conv_L_cache: 3,
      conv_bias: false,
    },
  },
};

/** Qwen Team 2026; the text model, without the vision encoder of the repository. */
const qwen35: Models = {
  'qwen3.5-0.8b': {
    repository: 'Qwen/Qwen3.5-0.8B',
    config: {
      model_type: 'qwen3_5_text',
      vocab_size: 248320,
      hidden_size: 1024,
      intermediate_size: 3584,
      num_hidden_layers: 24,
      full_attention_interval: 4,
      num_attention_heads: 8,
      num_key_value_heads: 2,
      head_dim: 256,
      linear_num_key_heads: 16,
      linear_num_value_heads: 16,
      linear_key_head_dim: 128,
      linear_value_head_dim: 128,
      linear_conv_kernel_dim: 4,
      rope_parameters: { rope_type: 'default', rope_theta: 10000000, partial_rotary_factor: 0.25 },
      tie_word_embeddings: true,
    },
  },
};

/** Transformers. */
const transformers: Models = {
  gpt2: {
    repository: 'openai-community/gpt2',
    config: {
      model_type: 'gpt2',
      vocab_size: 50257,
      n_positions: 1024,
      n_embd: 768,
      n_layer: 12,
      n_head: 12,
    },
  },
  'llama-3.2-1b': {
    repository: 'meta-llama/Llama-3.2-1B',
    config: {
      model_type: 'llama',
      vocab_size: 128256,
      hidden_size: 2048,
      intermediate_size: 8192,
      num_hidden_layers: 16,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      head_dim: 64,
      rms_norm_eps: 1e-5,
      rope_theta: 500000,
      rope_scaling: {
        rope_type: 'llama3',
        factor: 32,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 8192,
      },
      tie_word_embeddings: true,
    },
  },
  'qwen3-0.6b': {
    repository: 'Qwen/Qwen3-0.6B',
    config: {
      model_type: 'qwen3',
      vocab_size: 151936,
      hidden_size: 1024,
      intermediate_size: 3072,
      num_hidden_layers: 28,
      num_attention_heads: 16,
      num_key_value_heads: 8,
      head_dim: 128,
      rope_theta: 1000000,
      tie_word_embeddings: true,
    },
  },
};

/** By name, those of a kind together. */
export const publishedModels: Models = {
  ...mamba,
  ...mamba2,
  ...falconMamba,
  ...jamba,
  ...zamba2,
  ...bamba,
  ...nemotronH,
  ...falconH1,
  ...granites,
  ...lfm2,
  ...qwen35,
  ...transformers,
};
