import { flag, harmless } from '../fields.js';
import { ggufArchitecture } from './architecture.js';
import { common, float, needed } from './fields.js';

/** Of both Mambas. */
export const mambaFields = {
  ...common,
  feed_forward_length: harmless, // 0, as are the heads
  'attention.head_count': harmless,
  'attention.layer_norm_rms_epsilon': float(1e-5),
  'ssm.conv_kernel': needed,
  'ssm.inner_size': needed,
  'ssm.state_size': needed,
};

/** Mamba, and Falcon Mamba, whose files say ssm.dt_b_c_rms. */
export const mamba = ggufArchitecture({
  name: 'mamba',
  fields: {
    ...mambaFields,
    'ssm.time_step_rank': needed,
    'ssm.group_count': harmless, // Mamba has none
    'ssm.dt_b_c_rms': flag(false),
  },
  toConfig: (f, weights) => ({
    vocabSize: weights.vocabSize,
    dModel: f.embedding_length,
    nLayers: f.block_count,
    mixer: {
      type: 'mamba',
      dState: f['ssm.state_size'],
      dConv: f['ssm.conv_kernel'],
      dInner: f['ssm.inner_size'],
      dtRank: f['ssm.time_step_rank'],
      bias: weights.has('blk.0.ssm_in.bias'),
      convBias: weights.has('blk.0.ssm_conv1d.bias'),
      innerNorms: f['ssm.dt_b_c_rms'] ? 'unweighted' : 'none',
    },
    norm: { type: 'rms', eps: f['attention.layer_norm_rms_epsilon'] },
    tieEmbeddings: weights.tieEmbeddings,
    naming: 'mamba',
  }),
});
