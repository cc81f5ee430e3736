import { flag, harmless, number, only, type Place, whole } from '../fields.js';
import type { MlpConfig, ModelConfig, ResolvedConfig, SoftmaxAttentionConfig } from '../types.js';
import { architecture, type Uniform, fileOf, type Writer } from './architecture.js';
import { position, rotary, type RotaryValues, rotaryFile } from './rotary.js';

/** The fields of Llama and of what descends from it; each descendant has its own defaults for some. */
export const llamaFields = {
  vocab_size: whole(32000),
  hidden_size: whole(4096),
  intermediate_size: whole(11008),
  num_hidden_layers: whole(32),
  num_attention_heads: whole(32),
  num_key_value_heads: whole(), // num_attention_heads if absent
  head_dim: whole(), // hidden_size / num_attention_heads if absent
  hidden_act: only('silu', 'swish'),
  rms_norm_eps: number(1e-6),
  tie_word_embeddings: flag(false),
  ...rotary, // rope_theta: 10,000 if absent
};

type Values = RotaryValues & {
  readonly [K in Exclude<keyof typeof llamaFields, keyof RotaryValues>]: ReturnType<(typeof llamaFields)[K]>;
};

export const llamaAttention = (
  f: Pick<Values, 'hidden_size' | 'num_attention_heads' | 'num_key_value_heads' | 'head_dim'>,
  more: Partial<SoftmaxAttentionConfig> = {},
): SoftmaxAttentionConfig => ({
  type: 'softmax-attention',
  nHeads: f.num_attention_heads,
  nKvHeads: f.num_key_value_heads,
  headDim: f.head_dim ?? (Math.floor(f.hidden_size / Math.max(f.num_attention_heads, 1)) || undefined),
  ...more,
});

/** A model of Llama's blocks. */
export const llamaConfig = (
  f: Values,
  place: (name: keyof RotaryValues) => Place,
  mixer: ModelConfig['mixer'],
  mlp: Partial<MlpConfig> = {},
  theta = 10000,
): ModelConfig => ({
  vocabSize: f.vocab_size,
  dModel: f.hidden_size,
  nLayers: f.num_hidden_layers,
  mixer,
  mlp: { type: 'swiglu', dHidden: f.intermediate_size, ...mlp },
  norm: { type: 'rms', eps: f.rms_norm_eps },
  position: position(f, place, theta),
  tieEmbeddings: f.tie_word_embeddings,
  naming: 'llama',
});

/**
 * What the files of Llama and its descendants say of models whose layers are alike, except for windows; undefined for
 * another model. What it has no place for is found when it is read again.
 */
export function llamaFile({ naming, position: at, ...config }: ResolvedConfig, { mixer, mlp }: Uniform) {
  if (naming !== 'llama' || mixer.type !== 'softmax-attention' || mlp.type !== 'swiglu') return undefined;
  const rope = rotaryFile(at, mixer.headDim);
  if (rope === undefined) return undefined;
  return {
    hidden_size: config.dModel,
    intermediate_size: mlp.dHidden,
    num_hidden_layers: config.nLayers,
    num_attention_heads: mixer.nHeads,
    num_key_value_heads: mixer.nKvHeads,
    head_dim: mixer.headDim,
    hidden_act: 'silu',
    rms_norm_eps: config.norm.eps,
    ...rope,
    vocab_size: config.vocabSize,
    tie_word_embeddings: config.tieEmbeddings,
  };
}

const fields = {
  ...llamaFields,
  attention_bias: flag(false),
  mlp_bias: flag(false),
  pretraining_tp: harmless, // in how many parts products are computed
};

/** Llama (Touvron et al. 2023, arXiv:2302.13971, 2307.09288; Dubey et al. 2024, arXiv:2407.21783). */
export const llama = architecture({
  type: 'llama',
  classes: ['LlamaForCausalLM'],
  fields,
  toConfig: (f, place) =>
    llamaConfig(f, place, llamaAttention(f, { bias: f.attention_bias }), { bias: f.mlp_bias }),
});

export const writeLlama: Writer = (config) =>
  fileOf(llama, config, (layer) => {
    const { mixer, mlp } = layer;
    const file = llamaFile(config, layer);
    if (file === undefined || mixer.type !== 'softmax-attention' || mlp.type !== 'swiglu') return undefined;
    return mixer.window === undefined
      ? { ...file, attention_bias: mixer.bias, mlp_bias: mlp.bias }
      : undefined;
  });
