import {
  type Field,
  flag,
  harmless,
  layerTypes,
  number,
  only,
  type Place,
  type Values,
  whole,
  wholes,
} from '../fields.js';
import { limits } from '../limits.js';
import type { Json } from '../json.js';
import type { MixerConfig, MlpConfig, ModelConfig, Naming, ResolvedConfig } from '../types.js';
import { architecture, isAlike, type Writer } from './architecture.js';
import { llamaAttention } from './llama.js';
import { position, rotary, rotaryFile } from './rotary.js';

/** The fields of Qwen3-Next and of Qwen3.5. */
export const deltaFields = {
  vocab_size: whole(151936),
  hidden_size: whole(2048),
  intermediate_size: whole(5632),
  num_hidden_layers: whole(48),
  num_attention_heads: whole(16),
  num_key_value_heads: whole(2),
  head_dim: whole(256),
  hidden_act: only('silu', 'swish'),
  rms_norm_eps: number(1e-6),
  tie_word_embeddings: flag(false),
  attention_bias: flag(false),
  layer_types: layerTypes('linear_attention', 'full_attention'), // wins over full_attention_interval
  full_attention_interval: whole(4),
  linear_conv_kernel_dim: whole(4),
  linear_key_head_dim: whole(128),
  linear_value_head_dim: whole(128),
  linear_num_key_heads: whole(16),
  linear_num_value_heads: whole(32),
  use_sliding_window: only(false),
  ...rotary, // rope_theta: 10,000 if absent; partial_rotary_factor: 0.25
};

/** Transformers 5 writes the layers' types out; without them every `full_attention_interval`-th attends. */
export function deltaConfig(
  f: Values<typeof deltaFields>,
  place: (name: keyof typeof deltaFields & string) => Place,
  naming: Naming,
  mlp: (layer: number) => MlpConfig = () => ({ type: 'swiglu', dHidden: f.intermediate_size }),
): ModelConfig {
  const nLayers = f.num_hidden_layers;
  const layers = Array.from({ length: Math.min(nLayers, limits.nLayers) }, (_, layer) => layer);
  if (f.layer_types !== undefined && f.layer_types.length !== nLayers)
    place('layer_types').bad(`one for each of the ${nLayers} layers`);
  const attends = (layer: number) =>
    f.layer_types === undefined
      ? (layer + 1) % Math.max(f.full_attention_interval, 1) === 0
      : f.layer_types[layer] === 'full_attention';
  const attention = llamaAttention(f, { bias: f.attention_bias, qkNorm: true, outputGate: true });
  const delta: MixerConfig = {
    type: 'gated-delta-net',
    nKeyHeads: f.linear_num_key_heads,
    nValueHeads: f.linear_num_value_heads,
    headDim: f.linear_key_head_dim,
    valueDim: f.linear_value_head_dim,
    dConv: f.linear_conv_kernel_dim,
  };
  return {
    vocabSize: f.vocab_size,
    dModel: f.hidden_size,
    nLayers,
    mixer: layers.map((layer) => (attends(layer) ? attention : delta)),
    mlp: layers.map(mlp),
    norm: { type: 'rms', eps: f.rms_norm_eps, zeroCentered: true },
    position: position(f, place, 10000, { headDim: f.head_dim, absent: 0.25 }),
    tieEmbeddings: f.tie_word_embeddings,
    naming,
  };
}

/** The reverse; undefined for another model. */
export function deltaFile(config: ResolvedConfig): Json | undefined {
  const { mixers, mlps } = config;
  const attention = mixers.find((mixer) => mixer.type === 'softmax-attention');
  const delta = mixers.find((mixer) => mixer.type === 'gated-delta-net');
  const [mlp] = mlps;
  if (mlp.type !== 'swiglu' || !isAlike(mlps)) return undefined;
  const rope = rotaryFile(config.position, attention?.headDim ?? 256);
  if (rope === undefined) return undefined;
  return {
    vocab_size: config.vocabSize,
    hidden_size: config.dModel,
    intermediate_size: mlp.dHidden,
    num_hidden_layers: config.nLayers,
    ...(attention && {
      num_attention_heads: attention.nHeads,
      num_key_value_heads: attention.nKvHeads,
      head_dim: attention.headDim,
      attention_bias: attention.bias,
    }),
    hidden_act: 'silu',
    rms_norm_eps: config.norm.eps,
    tie_word_embeddings: config.tieEmbeddings,
    layer_types: mixers.map(({ type }) =>
      type === 'gated-delta-net' ? 'linear_attention' : 'full_attention',
    ),
    ...(delta && {
      linear_conv_kernel_dim: delta.dConv,
      linear_key_head_dim: delta.headDim,
      linear_value_head_dim: delta.valueDim,
      linear_num_key_heads: delta.nKeyHeads,
      linear_num_value_heads: delta.nValueHeads,
    }),
    ...rope,
    partial_rotary_factor: 'partial_rotary_factor' in rope ? rope.partial_rotary_factor : 1,
  };
}

/** Layers, by their numbers; none if absent. */
const layerNumbers: Field<readonly number[]> = (value, place) => wholes(value, place) ?? [];

const fields = {
  ...deltaFields,
  // A layer has experts if there are any, it is a whole number of steps away from the first, and not named as dense.
  num_experts: whole(512),
  num_experts_per_tok: whole(10),
  decoder_sparse_step: whole(1),
  mlp_only_layers: layerNumbers,
  moe_intermediate_size: whole(512),
  shared_expert_intermediate_size: harmless,
  norm_topk_prob: harmless,
};

/** Qwen3-Next (Qwen 2025): gated DeltaNet, and gated attention in every fourth layer. */
export const qwen3Next = architecture({
  type: 'qwen3_next',
  classes: ['Qwen3NextForCausalLM'],
  fields,
  toConfig(f, place) {
    const dense: MlpConfig = { type: 'swiglu', dHidden: f.intermediate_size };
    const mixture: MlpConfig = {
      type: 'swiglu',
      dHidden: f.moe_intermediate_size,
      experts: f.num_experts,
      active: f.num_experts_per_tok,
    };
    const isDense = (layer: number) =>
      f.num_experts === 0 ||
      f.mlp_only_layers.includes(layer) ||
      (layer + 1) % Math.max(f.decoder_sparse_step, 1) !== 0;
    return deltaConfig(f, place, 'qwen3_next', (layer) => (isDense(layer) ? dense : mixture));
  },
});

export const writeQwen3Next: Writer = (config) => {
  const file = config.naming === 'qwen3_next' ? deltaFile(config) : undefined;
  return (
    file && {
      architectures: ['Qwen3NextForCausalLM'],
      model_type: 'qwen3_next',
      ...file,
      num_experts: 0,
      torch_dtype: 'float32',
    }
  );
};
