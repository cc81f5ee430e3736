import type { Renaming } from './renaming.js';

/** Mamba, Mamba-2 and Falcon Mamba of Transformers: ours are these names. Copies of the bare model lack the prefix. */
export const mamba: Renaming = (name) =>
  (/^(embeddings?|layers|norm_f)\./.test(name) ? `backbone.${name}` : name).replace(
    /^backbone\.embedding\./, // of state-spaces
    'backbone.embeddings.',
  );
