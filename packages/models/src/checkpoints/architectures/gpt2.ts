import type { Renaming } from './renaming.js';

/** GPT-2 of Transformers: ours are these names. Copies of the bare model lack the prefix. */
export const gpt2: Renaming = (name) => {
  const full = /^(wte|wpe|h|ln_f)\./.test(name) ? `transformer.${name}` : name;
  // Causal masks, which old checkpoints hold as tensors.
  return /^transformer\.h\.\d+\.attn\.(masked_)?bias$/.test(full) ? undefined : full;
};
