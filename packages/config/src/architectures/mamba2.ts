import { flag, harmless, number, only, timeStepLimit, whole } from '../fields.js';
import { architecture, fileOf, type Writer } from './architecture.js';
import { initialTimeSteps, mambaFile, onlyMambas } from './mamba.js';

const fields = {
  vocab_size: whole(32768),
  hidden_size: whole(4096),
  num_hidden_layers: whole(64),
  num_heads: whole(128),
  head_dim: whole(64),
  state_size: whole(128),
  n_groups: whole(8),
  conv_kernel: whole(4),
  expand: number(2),
  intermediate_size: whole(), // must be num_heads head_dim
  time_step_limit: timeStepLimit,
  use_bias: flag(false),
  use_conv_bias: flag(true),
  hidden_act: only('silu', 'swish'),
  rms_norm: only(true),
  layer_norm_epsilon: number(1e-5),
  tie_word_embeddings: flag(false),
  transformers_version: harmless,
  norm_before_gate: harmless, // true in many files, and Transformers gates first all the same
  chunk_size: harmless, // changes how it is computed, not what
  time_step_rank: harmless, // Mamba-2 has none
  ...initialTimeSteps,
};

/** A release whose reading this one is, of the gated norm too. */
const RELEASE = '4.57.6';

/**
 * Mamba-2 (Dao & Gu 2024, arXiv:2405.21060), as Transformers has it.
 *
 * Its gated norm takes its mean over all channels, whatever `n_groups` is, where mamba_ssm, which most checkpoints were
 * trained with, takes it by group. Files with a `transformers_version`, as every release writes it, are read as Transformers
 * reads them; those without one were made by other hands, and are read as mamba_ssm computes.
 */
export const mamba2 = architecture({
  type: 'mamba2',
  classes: ['Mamba2ForCausalLM'],
  fields,
  toConfig(f, place) {
    const dInner = Math.floor(f.expand * f.hidden_size);
    if (f.num_heads * f.head_dim !== dInner)
      place('num_heads').bad(`expand * hidden_size / head_dim = ${dInner / f.head_dim}`);
    if ((f.intermediate_size ?? dInner) !== dInner)
      place('intermediate_size').bad(`expand * hidden_size = ${dInner}`);
    return {
      vocabSize: f.vocab_size,
      dModel: f.hidden_size,
      nLayers: f.num_hidden_layers,
      mixer: {
        type: 'mamba2',
        dState: f.state_size,
        dConv: f.conv_kernel,
        dInner,
        headDim: f.head_dim,
        nGroups: f.n_groups,
        normGroups: f.transformers_version === undefined ? f.n_groups : 1,
        bias: f.use_bias,
        convBias: f.use_conv_bias,
        dtLimit: f.time_step_limit,
      },
      norm: { type: 'rms', eps: f.layer_norm_epsilon },
      tieEmbeddings: f.tie_word_embeddings,
      naming: 'mamba',
    };
  },
});

export const writeMamba2: Writer = (config) =>
  fileOf(mamba2, config, (layer) => {
    const { mixer } = layer;
    if (mixer.type !== 'mamba2' || !onlyMambas(config, layer)) return undefined;
    return {
      transformers_version: RELEASE,
      state_size: mixer.dState,
      conv_kernel: mixer.dConv,
      num_heads: mixer.dInner / mixer.headDim,
      head_dim: mixer.headDim,
      n_groups: mixer.nGroups,
      chunk_size: 256,
      rms_norm: true,
      norm_before_gate: false,
      ...(mixer.dtLimit && { time_step_limit: mixer.dtLimit }),
      use_bias: mixer.bias,
      use_conv_bias: mixer.convBias,
      ...mambaFile(config, mixer.dInner),
    };
  });
