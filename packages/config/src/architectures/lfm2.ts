import { flag, harmless, layerTypes, number, only, whole, wholes } from '../fields.js';
import { limits } from '../limits.js';
import type { MixerConfig } from '../types.js';
import { architecture, isAlike, type Writer } from './architecture.js';
import { llamaAttention } from './llama.js';
import { position, rotary, rotaryFile } from './rotary.js';

const fields = {
  vocab_size: whole(65536),
  hidden_size: whole(2560),
  num_hidden_layers: whole(32),
  num_attention_heads: whole(32),
  num_key_value_heads: whole(8),
  layer_types: layerTypes('conv', 'full_attention'), // wins over full_attn_idxs
  full_attn_idxs: wholes, // all if absent
  conv_L_cache: whole(3),
  conv_bias: flag(false),
  intermediate_size: whole(12288),
  block_ff_dim: whole(), // the older name of intermediate_size, over which it wins
  block_auto_adjust_ff_dim: flag(true), // to two thirds of that
  block_ffn_dim_multiplier: number(1),
  block_multiple_of: whole(256),
  norm_eps: number(1e-5),
  tie_embedding: flag(true), // the older name of tie_word_embeddings
  tie_word_embeddings: flag(true),
  block_use_swiglu: only(true),
  use_pos_enc: only(true),
  num_heads: harmless, // num_attention_heads, which counts
  block_dim: harmless, // hidden_size, which counts
  conv_dim: harmless,
  conv_dim_out: harmless,
  block_norm_eps: harmless, // norm_eps counts
  // How weights start
  block_mlp_init_scale: harmless,
  block_out_init_scale: harmless,
  block_use_xavier_init: harmless,
  conv_use_xavier_init: harmless,
  ...rotary, // rope_theta: 1,000,000 if absent
};

/** LFM2 (Liquid AI 2025, arXiv:2511.23404): gated short convolutions, and attention in some layers. */
export const lfm2 = architecture({
  type: 'lfm2',
  classes: ['Lfm2ForCausalLM'],
  fields,
  toConfig(f, place) {
    const attention = llamaAttention({ ...f, head_dim: undefined }, { qkNorm: true });
    const conv: MixerConfig = { type: 'short-conv', dConv: f.conv_L_cache, bias: f.conv_bias };
    const { layer_types: types, full_attn_idxs: full, num_hidden_layers: nLayers } = f;
    if (types !== undefined && types.length !== nLayers)
      place('layer_types').bad(`one for each of the ${nLayers} layers`);
    const attends = (layer: number) =>
      types === undefined ? (full?.includes(layer) ?? true) : types[layer] === 'full_attention';
    return {
      vocabSize: f.vocab_size,
      dModel: f.hidden_size,
      nLayers,
      mixer: Array.from({ length: Math.min(nLayers, limits.nLayers) }, (_, layer) =>
        attends(layer) ? attention : conv,
      ),
      mlp: { type: 'swiglu', dHidden: hiddenWidth(f) },
      norm: { type: 'rms', eps: f.norm_eps },
      position: position(f, place, 1000000),
      tieEmbeddings: f.tie_word_embeddings && f.tie_embedding,
      naming: 'lfm2',
    };
  },
});

function hiddenWidth(f: {
  readonly intermediate_size: number;
  readonly block_ff_dim: number | undefined;
  readonly block_auto_adjust_ff_dim: boolean;
  readonly block_ffn_dim_multiplier: number;
  readonly block_multiple_of: number;
}): number {
  const given = f.block_ff_dim ?? f.intermediate_size;
  if (!f.block_auto_adjust_ff_dim) return given;
  const adjusted = Math.floor(f.block_ffn_dim_multiplier * Math.floor((2 * given) / 3));
  const multiple = Math.max(f.block_multiple_of, 1);
  return multiple * Math.ceil(adjusted / multiple);
}

export const writeLfm2: Writer = (config) => {
  const { mixers, mlps } = config;
  const attention = mixers.find((mixer) => mixer.type === 'softmax-attention');
  const conv = mixers.find((mixer) => mixer.type === 'short-conv');
  const [mlp] = mlps;
  if (config.naming !== 'lfm2' || mlp.type !== 'swiglu' || !isAlike(mlps)) return undefined;
  const rope = rotaryFile(config.position, attention?.headDim ?? config.dModel);
  if (rope === undefined) return undefined;
  return {
    architectures: ['Lfm2ForCausalLM'],
    model_type: 'lfm2',
    vocab_size: config.vocabSize,
    hidden_size: config.dModel,
    num_hidden_layers: config.nLayers,
    ...(attention && {
      num_attention_heads: attention.nHeads,
      num_key_value_heads: attention.nKvHeads,
    }),
    layer_types: mixers.map(({ type }) => (type === 'short-conv' ? 'conv' : 'full_attention')),
    full_attn_idxs: mixers.flatMap(({ type }, layer) => (type === 'short-conv' ? [] : [layer])),
    ...(conv && { conv_L_cache: conv.dConv, conv_bias: conv.bias }),
    intermediate_size: mlp.dHidden,
    block_ff_dim: mlp.dHidden,
    block_auto_adjust_ff_dim: false,
    norm_eps: config.norm.eps,
    ...rope,
    tie_embedding: config.tieEmbeddings,
    tie_word_embeddings: config.tieEmbeddings,
    torch_dtype: 'float32',
  };
};
