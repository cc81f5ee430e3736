import { whole } from '../fields.js';
import { ggufArchitecture } from './architecture.js';
import { needed } from './fields.js';
import { mambaFields } from './mamba.js';

export const mamba2 = ggufArchitecture({
  name: 'mamba2',
  fields: {
    ...mambaFields,
    'ssm.time_step_rank': needed, // the number of heads
    'ssm.group_count': whole(1),
  },
  toConfig(f, weights, place) {
    const dInner = f['ssm.inner_size'];
    const nHeads = f['ssm.time_step_rank'];
    if (nHeads === 0 || dInner % nHeads !== 0)
      place('ssm.time_step_rank').bad(`a divisor of ssm.inner_size = ${dInner}`);
    return {
      vocabSize: weights.vocabSize,
      dModel: f.embedding_length,
      nLayers: f.block_count,
      mixer: {
        type: 'mamba2',
        dState: f['ssm.state_size'],
        dConv: f['ssm.conv_kernel'],
        dInner,
        headDim: dInner / nHeads,
        nGroups: f['ssm.group_count'],
        bias: weights.has('blk.0.ssm_in.bias'),
        convBias: weights.has('blk.0.ssm_conv1d.bias'),
      },
      norm: { type: 'rms', eps: f['attention.layer_norm_rms_epsilon'] },
      tieEmbeddings: weights.tieEmbeddings,
      naming: 'mamba',
    };
  },
});
