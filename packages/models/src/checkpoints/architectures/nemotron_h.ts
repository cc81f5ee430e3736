import type { Layout } from '../layout.js';

/** Nemotron-H of Transformers: whatever a layer is, it is its mixer. */
export const nemotronH: Layout = {
  model: { embedding: 'backbone.embeddings', final_norm: 'backbone.norm_f', head: 'lm_head' },
  layer: 'backbone.layers.#.',
  modules: {
    mixer_norm: 'norm',
    mixer: 'mixer',
    mlp_norm: 'norm',
    'mlp.fc1': 'mixer.up_proj',
    'mlp.fc2': 'mixer.down_proj',
  },
  // What Transformers 5 calls the backbone inside.
  read: (name) => name.replace(/^model\./, 'backbone.'),
};
