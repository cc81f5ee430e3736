import { flag, group, harmless, only, whole } from '../fields.js';
import { architecture, type Writer } from './architecture.js';
import { deltaConfig, deltaFields, deltaFile } from './qwen3_next.js';

const fields = {
  ...deltaFields,
  vocab_size: whole(248320),
  hidden_size: whole(4096),
  intermediate_size: whole(12288),
  num_hidden_layers: whole(32),
  num_key_value_heads: whole(4),
  attn_output_gate: only(true),
  mlp_only_layers: harmless, // no layer has experts
  // Layers that guess several tokens ahead; their weights are passed over.
  mtp_num_hidden_layers: harmless,
  mtp_use_dedicated_embeddings: harmless,
  mamba_ssm_dtype: harmless,
};

/** The text model of Qwen3.5 (Qwen 2026) with dense MLPs, alone. */
export const qwen35Text = architecture({
  type: 'qwen3_5_text',
  classes: ['Qwen3_5ForCausalLM'],
  fields,
  toConfig: (f, place) => deltaConfig(f, place, 'qwen3_5_text'),
});

const withImages = { text_config: group(fields), vision_config: harmless, tie_word_embeddings: flag(false) };

/** Qwen3.5 as the hub has it, of which the text model is read, and what belongs to images is passed over. */
export const qwen35 = architecture({
  type: 'qwen3_5',
  classes: ['Qwen3_5ForConditionalGeneration'],
  fields: withImages,
  toConfig: (f, place) => ({
    ...deltaConfig(f.text_config, () => place('text_config'), 'qwen3_5'),
    tieEmbeddings: f.text_config.tie_word_embeddings || f.tie_word_embeddings,
  }),
});

export const writeQwen35Text: Writer = (config) => {
  const file = config.naming === 'qwen3_5_text' ? deltaFile(config) : undefined;
  return (
    file && {
      architectures: ['Qwen3_5ForCausalLM'],
      model_type: 'qwen3_5_text',
      ...file,
      torch_dtype: 'float32',
    }
  );
};

export const writeQwen35: Writer = (config) => {
  const file = config.naming === 'qwen3_5' ? deltaFile(config) : undefined;
  return (
    file && {
      architectures: ['Qwen3_5ForConditionalGeneration'],
      model_type: 'qwen3_5',
      text_config: { model_type: 'qwen3_5_text', ...file },
      tie_word_embeddings: config.tieEmbeddings,
      torch_dtype: 'float32',
    }
  );
};
