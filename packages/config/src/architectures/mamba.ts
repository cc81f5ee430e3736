import {
  empty,
  type Field,
  flag,
  harmless,
  noTimeStepLimit,
  number,
  only,
  type Place,
  rank,
  whole,
} from '../fields.js';
import type { MambaConfig, ModelConfig, ResolvedConfig, ResolvedMamba } from '../types.js';
import { architecture, type Uniform, fileOf, type Writer } from './architecture.js';

/** Step sizes at the start of training. */
export const initialTimeSteps = {
  time_step_scale: harmless,
  time_step_min: harmless,
  time_step_max: harmless,
  time_step_init_scheme: harmless,
  time_step_floor: harmless,
} satisfies Record<string, Field<unknown>>;

export const mambaFields = {
  vocab_size: whole(50280),
  hidden_size: whole(768),
  num_hidden_layers: whole(32),
  state_size: whole(16),
  conv_kernel: whole(4),
  expand: number(2),
  intermediate_size: whole(), // expand hidden_size if absent; wins over it if not
  time_step_rank: rank,
  time_step_limit: noTimeStepLimit, // of Mamba-2
  use_bias: flag(false),
  use_conv_bias: flag(true),
  hidden_act: only('silu', 'swish'),
  layer_norm_epsilon: number(1e-5),
  tie_word_embeddings: flag(true),
  ...initialTimeSteps,
  // Converted files repeat the names of state-spaces.
  d_model: whole(),
  d_inner: whole(),
  n_layer: whole(),
  rms_norm: only(true),
  ssm_cfg: empty,
  fused_add_norm: harmless,
  pad_vocab_size_multiple: harmless, // vocab_size is padded already
};

type Values = { readonly [K in keyof typeof mambaFields]: ReturnType<(typeof mambaFields)[K]> };

/** Also of Falcon Mamba, whose mixer has more. */
export function mambaConfig(
  f: Values,
  place: (name: keyof Values) => Place,
  mixer: Partial<MambaConfig> = {},
): ModelConfig {
  const dInner = f.intermediate_size ?? Math.floor(f.expand * f.hidden_size);
  for (const [name, same] of [['d_model', f.hidden_size], ['n_layer', f.num_hidden_layers], ['d_inner', dInner]] as const)
    if ((f[name] ?? same) !== same) place(name).bad(`${same}, as other fields say`); // prettier-ignore
  return {
    vocabSize: f.vocab_size,
    dModel: f.hidden_size,
    nLayers: f.num_hidden_layers,
    mixer: {
      type: 'mamba',
      dState: f.state_size,
      dConv: f.conv_kernel,
      dInner,
      dtRank: f.time_step_rank,
      bias: f.use_bias,
      convBias: f.use_conv_bias,
      ...mixer,
    },
    norm: { type: 'rms', eps: f.layer_norm_epsilon },
    tieEmbeddings: f.tie_word_embeddings,
    naming: 'mamba',
  };
}

/** What they say of the mixer. */
export const mambaMixerFile = (mixer: ResolvedMamba) => ({
  state_size: mixer.dState,
  conv_kernel: mixer.dConv,
  time_step_rank: mixer.dtRank,
  use_bias: mixer.bias,
  use_conv_bias: mixer.convBias,
});

/** What the files of all Mambas say. */
export const mambaFile = (config: ResolvedConfig, dInner: number) => ({
  vocab_size: config.vocabSize,
  hidden_size: config.dModel,
  num_hidden_layers: config.nLayers,
  expand: dInner / config.dModel,
  intermediate_size: dInner,
  layer_norm_epsilon: config.norm.eps,
  hidden_act: 'silu',
  residual_in_fp32: true,
  tie_word_embeddings: config.tieEmbeddings,
});

/** Whether a model is Mambas and nothing else, as their published forms have it. */
export const onlyMambas = ({ norm, position }: ResolvedConfig, { mixer, mlp }: Uniform): boolean =>
  (mixer.type === 'mamba' || mixer.type === 'mamba2') &&
  mixer.dConv > 0 && mlp.type === 'none' && norm.type === 'rms' && position.type === 'none'; // prettier-ignore

/** Mamba (Gu & Dao 2023, arXiv:2312.00752), as Transformers has it. */
export const mamba = architecture({
  type: 'mamba',
  classes: ['MambaForCausalLM'],
  fields: mambaFields,
  toConfig: mambaConfig,
});

export const writeMamba: Writer = (config) =>
  fileOf(mamba, config, (layer) => {
    const { mixer } = layer;
    if (mixer.type !== 'mamba' || mixer.innerNorms !== 'none' || !onlyMambas(config, layer)) return undefined;
    return { ...mambaMixerFile(mixer), ...mambaFile(config, mixer.dInner) };
  });
