import type { Renaming } from './renaming.js';

/** Llama and what descends from it in Transformers: ours are these names. Copies of the bare model lack the prefix. */
export const llama: Renaming = (name) => {
  const full = /^(embed_tokens|layers|norm)\./.test(name) ? `model.${name}` : name;
  // Rotary frequencies, which old checkpoints hold as tensors.
  return /^model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq$/.test(full) ? undefined : full;
};
