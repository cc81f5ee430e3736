import { whole } from '../fields.js';
import { ggufArchitecture } from './architecture.js';
import { common, float, needed } from './fields.js';

export const gpt2 = ggufArchitecture({
  name: 'gpt2',
  fields: {
    ...common,
    feed_forward_length: needed,
    'attention.head_count': needed,
    'attention.head_count_kv': whole(),
    'attention.layer_norm_epsilon': float(1e-5),
  },
  toConfig: (f, weights) => ({
    vocabSize: weights.vocabSize,
    dModel: f.embedding_length,
    nLayers: f.block_count,
    mixer: {
      type: 'softmax-attention',
      nHeads: f['attention.head_count'],
      nKvHeads: f['attention.head_count_kv'],
    },
    mlp: { type: 'gelu', dHidden: f.feed_forward_length },
    norm: { type: 'layer', eps: f['attention.layer_norm_epsilon'] },
    position: { type: 'learned', maxLength: weights.shapeOf('position_embd.weight')?.[0] ?? 1 },
    tieEmbeddings: weights.tieEmbeddings,
    naming: 'gpt2',
  }),
});
