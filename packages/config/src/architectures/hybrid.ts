/** What files of hybrids of Mamba-2 and attention have in common: Bamba, Granite and their kin. */
import {
  type Field,
  flag,
  harmless,
  number,
  only,
  type Place,
  timeStepLimit,
  type Values,
  whole,
} from '../fields.js';
import type { Json } from '../json.js';
import type { Mamba2Config, ResolvedConfig, ResolvedMamba2, ResolvedSoftmaxAttention } from '../types.js';
import { initialTimeSteps } from './mamba.js';

/** `auto`, which stands for what other fields leave, or a whole number. */
const automatic: Field<number | undefined> = (value, place) =>
  value === 'auto' ? undefined : whole()(value, place);

export const hybridMambaFields = {
  mamba_n_heads: whole(128),
  mamba_d_head: automatic, // mamba_expand hidden_size / mamba_n_heads if absent
  mamba_n_groups: whole(1),
  mamba_d_state: whole(256),
  mamba_d_conv: whole(4),
  mamba_expand: number(2),
  mamba_conv_bias: flag(true),
  mamba_proj_bias: flag(false),
  mamba_chunk_size: harmless, // changes how it is computed, not what
  time_step_limit: timeStepLimit,
  ...initialTimeSteps,
};

type MambaValues = Values<typeof hybridMambaFields> & { readonly hidden_size: number };

/** @param more what differs from model to model, above all the gated norm */
export function hybridMamba(
  f: MambaValues,
  place: (name: 'mamba_n_heads') => Place,
  more: Partial<Mamba2Config>,
): Mamba2Config {
  const dInner = Math.floor(f.mamba_expand * f.hidden_size);
  const headDim = f.mamba_d_head ?? Math.floor(dInner / Math.max(f.mamba_n_heads, 1));
  if (f.mamba_n_heads * headDim !== dInner)
    place('mamba_n_heads').bad(`mamba_expand * hidden_size / mamba_d_head = ${dInner / headDim}`);
  return {
    type: 'mamba2',
    dState: f.mamba_d_state,
    dConv: f.mamba_d_conv,
    dInner,
    headDim,
    nGroups: f.mamba_n_groups,
    bias: f.mamba_proj_bias,
    convBias: f.mamba_conv_bias,
    dtLimit: f.time_step_limit,
    ...more,
  };
}

export const hybridMambaFile = (mixer: ResolvedMamba2, dModel: number): Json => ({
  mamba_n_heads: mixer.dInner / mixer.headDim,
  mamba_d_head: mixer.headDim,
  mamba_n_groups: mixer.nGroups,
  mamba_d_state: mixer.dState,
  mamba_d_conv: mixer.dConv,
  mamba_expand: mixer.dInner / dModel,
  mamba_conv_bias: mixer.convBias,
  mamba_proj_bias: mixer.bias,
  mamba_chunk_size: 256,
  ...(mixer.dtLimit && { time_step_limit: mixer.dtLimit }),
});

/** The fields of attention; `num_key_value_heads` is as many as there are heads if absent. */
export const hybridAttentionFields = {
  num_attention_heads: whole(32),
  num_key_value_heads: whole(),
  attention_bias: flag(false),
};

/** What all of them say of the model itself. */
export const hybridFields = {
  vocab_size: whole(32000),
  hidden_size: whole(4096),
  num_hidden_layers: whole(32),
  hidden_act: only('silu', 'swish'),
  rms_norm_eps: number(1e-6),
  tie_word_embeddings: flag(false),
};

export const hybridFile = (
  config: ResolvedConfig,
  attention: ResolvedSoftmaxAttention | undefined,
): Json => ({
  vocab_size: config.vocabSize,
  hidden_size: config.dModel,
  num_hidden_layers: config.nLayers,
  hidden_act: 'silu',
  rms_norm_eps: config.norm.eps,
  tie_word_embeddings: config.tieEmbeddings,
  num_attention_heads: attention?.nHeads ?? 1,
  num_key_value_heads: attention?.nKvHeads ?? 1,
  attention_bias: attention?.bias ?? false,
});
