import type { ResolvedConfig } from '@freelunch/config';

/** Where a model's parameters stand in checkpoints: prefixes that end in a dot, and names. */
export interface Names {
  embedding: string;
  positions: string;
  block(layer: number): string;
  mixer: string;
  mixerNorm: string;
  mlpNorm: string;
  finalNorm: string;
  head: string;
}

const byNaming: Record<ResolvedConfig['naming'], Names> = {
  mamba: {
    embedding: 'backbone.embeddings.weight',
    positions: 'backbone.position_embeddings.weight',
    block: (layer) => `backbone.layers.${layer}.`,
    mixer: 'mixer.',
    mixerNorm: 'norm.',
    mlpNorm: 'norm2.',
    finalNorm: 'backbone.norm_f.',
    head: 'lm_head.weight',
  },
  gpt2: {
    embedding: 'transformer.wte.weight',
    positions: 'transformer.wpe.weight',
    block: (layer) => `transformer.h.${layer}.`,
    mixer: 'attn.',
    mixerNorm: 'ln_1.',
    mlpNorm: 'ln_2.',
    finalNorm: 'transformer.ln_f.',
    head: 'lm_head.weight',
  },
  llama: {
    embedding: 'model.embed_tokens.weight',
    positions: 'model.embed_positions.weight',
    block: (layer) => `model.layers.${layer}.`,
    mixer: 'self_attn.',
    mixerNorm: 'input_layernorm.',
    mlpNorm: 'post_attention_layernorm.',
    finalNorm: 'model.norm.',
    head: 'lm_head.weight',
  },
};

export const namesOf = (config: ResolvedConfig): Names => byNaming[config.naming];
