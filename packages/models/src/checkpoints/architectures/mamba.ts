import type { Layout } from '../layout.js';

/** Mamba, Mamba-2 and Falcon-Mamba of Transformers; also what no published architecture has names for. */
export const mamba: Layout = {
  model: {
    embedding: 'backbone.embeddings',
    positions: 'backbone.position_embeddings',
    final_norm: 'backbone.norm_f',
    head: 'lm_head',
  },
  layer: 'backbone.layers.#.',
  modules: {
    mixer_norm: 'norm',
    mixer: 'mixer',
    mlp_norm: 'norm2',
    mlp: 'mlp',
    shared: 'shared',
    shared_linear: 'shared_linear',
    after_shared: 'mixer',
    'after_shared.mixer_norm': 'norm',
  },
  read: (name) =>
    // Copies of the bare model lack the prefix.
    (/^(embeddings?|layers|norm_f)\./.test(name) ? `backbone.${name}` : name).replace(
      /^backbone\.embedding\./, // of state-spaces
      'backbone.embeddings.',
    ),
};
