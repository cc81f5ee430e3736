/**
 * The golden models, by the names of their files in data/. Those that cannot be computed yet say what the error that
 * refuses them names.
 */
export const cases: Readonly<Record<string, { refused?: RegExp; skipped?: RegExp }>> = {
  model_bamba: {},
  model_falcon_h1: {},
  model_falcon_h1_norm: {},
  model_falcon_mamba: {},
  model_granite_nope: {},
  model_granite_rope: {},
  model_jamba: {},
  model_lfm2: {},
  model_llama3_scaled: {},
  model_mamba2_attn_orig: {},
  model_mamba2_groups_hf: {},
  model_mamba2_groups_orig: {},
  model_mamba3_attn: {},
  model_mamba3_mimo: {},
  model_mamba3_mimo_norm: {},
  model_mamba3_siso: {},
  model_mamba3_siso_norm_mlp: {},
  model_nemotron_h: {},
  model_qwen2: {},
  model_qwen3: {},
  model_qwen3_5: {},
  model_qwen3_5_multimodal: { skipped: /^(mtp|model\.visual)\./ },
  model_qwen3_next: {},
  model_zamba2: {},
};
