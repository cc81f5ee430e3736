import { nullable, only, whole } from '../fields.js';
import { architecture, fileOf, type Writer } from './architecture.js';
import { llamaAttention, llamaConfig, llamaFields, llamaFile } from './llama.js';

const fields = {
  ...llamaFields,
  intermediate_size: whole(14336),
  num_key_value_heads: whole(8),
  sliding_window: nullable(whole(4096)), // null: none
  attention_bias: only(false),
  mlp_bias: only(false),
};

/** Mistral (Jiang et al. 2023, arXiv:2310.06825): Llama with a sliding window. */
export const mistral = architecture({
  type: 'mistral',
  classes: ['MistralForCausalLM'],
  fields,
  toConfig: (f, place) => llamaConfig(f, place, llamaAttention(f, { window: f.sliding_window ?? undefined })),
});

export const writeMistral: Writer = (config) =>
  fileOf(mistral, config, (layer) => {
    const { mixer, mlp } = layer;
    const file = llamaFile(config, layer);
    if (file === undefined || mixer.type !== 'softmax-attention' || mlp.type !== 'swiglu') return undefined;
    return mixer.window === undefined || mixer.bias || mlp.bias
      ? undefined
      : { ...file, sliding_window: mixer.window };
  });
