import { number, whole } from '../fields.js';
import { architecture } from './architecture.js';
import { llamaAttention, llamaConfig, llamaFields } from './llama.js';

const fields = {
  ...llamaFields, // rope_theta: 1,000,000 if absent
  intermediate_size: whole(14336),
  num_key_value_heads: whole(8),
  rms_norm_eps: number(1e-5),
  sliding_window: whole(), // none if absent
  num_local_experts: whole(8),
  num_experts_per_tok: whole(2),
};

/** Mixtral (Jiang et al. 2024, arXiv:2401.04088): Mistral with a mixture of experts in each layer. */
export const mixtral = architecture({
  type: 'mixtral',
  classes: ['MixtralForCausalLM'],
  fields,
  toConfig: (f, place) =>
    llamaConfig(
      f,
      place,
      llamaAttention(f, { window: f.sliding_window }),
      { experts: f.num_local_experts, active: f.num_experts_per_tok },
      1e6,
    ),
});
