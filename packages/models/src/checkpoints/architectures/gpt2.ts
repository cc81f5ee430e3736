import type { Layout } from '../layout.js';

/** GPT-2 of Transformers. */
export const gpt2: Layout = {
  model: {
    embedding: 'transformer.wte',
    positions: 'transformer.wpe',
    final_norm: 'transformer.ln_f',
    head: 'lm_head',
  },
  layer: 'transformer.h.#.',
  modules: { mixer_norm: 'ln_1', mixer: 'attn', mlp_norm: 'ln_2', mlp: 'mlp' },
  read(name) {
    // Copies of the bare model lack the prefix.
    const full = /^(wte|wpe|h|ln_f)\./.test(name) ? `transformer.${name}` : name;
    // Causal masks, which old checkpoints hold as tensors.
    return /^transformer\.h\.\d+\.attn\.(masked_)?bias$/.test(full) ? undefined : full;
  },
};
