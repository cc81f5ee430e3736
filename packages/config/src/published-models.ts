/**
 * Models that people run, by short names: what the config.json of each says of its sizes, in its own terms, to be read by
 * the reader of all config.json. Fields that change neither sizes nor costs are left out, and so are those that have
 * the reader's default.
 */
import type { HuggingFaceConfig } from './config-json.js';

export interface PublishedModel {
  /** On the hub of Hugging Face. */
  readonly repository: string;
  readonly config: HuggingFaceConfig;
}

type Models = Readonly<Record<string, PublishedModel>>;

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
};

/** By name, those of a kind together. */
export const publishedModels: Models = {
  ...mamba,
  ...mamba2,
  ...falconMamba,
  ...jamba,
  ...transformers,
};
