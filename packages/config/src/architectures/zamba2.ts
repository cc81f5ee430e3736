import {
  type Field,
  flag,
  harmless,
  layerTypes,
  number,
  only,
  timeStepLimit,
  whole,
  wholes,
} from '../fields.js';
import { limits } from '../limits.js';
import { architecture, isAlike, type Writer } from './architecture.js';
import { initialTimeSteps } from './mamba.js';
import { position, rotary, rotaryFile } from './rotary.js';

/** The epsilon of the gated norm, which no field names. */
const NORM_EPS = 1e-5;

/** A number of layers each. */
const layerNumbers: Field<readonly number[]> = (value, place) => wholes(value, place) ?? [];

const fields = {
  vocab_size: whole(32000),
  hidden_size: whole(2560),
  num_hidden_layers: whole(54),
  layers_block_type: layerTypes('mamba', 'linear_attention', 'hybrid'), // wins over hybrid_layer_ids
  hybrid_layer_ids: layerNumbers,
  num_mem_blocks: whole(1),
  num_attention_heads: whole(32),
  num_key_value_heads: whole(), // num_attention_heads if absent
  attention_head_dim: whole(), // 2 hidden_size / num_attention_heads if absent
  attention_hidden_size: harmless, // 2 hidden_size
  kv_channels: harmless,
  num_query_groups: harmless,
  use_mem_rope: flag(false),
  use_long_context: only(false),
  use_shared_attention_adapter: flag(false),
  use_shared_mlp_adapter: only(true),
  adapter_rank: whole(128),
  intermediate_size: whole(), // 4 hidden_size if absent
  ffn_hidden_size: harmless, // intermediate_size counts
  hidden_act: only('gelu'),
  add_bias_linear: flag(false),
  mamba_d_state: whole(64),
  mamba_d_conv: whole(4),
  mamba_expand: number(2),
  mamba_ngroups: whole(1),
  n_mamba_heads: whole(8),
  mamba_headdim: harmless, // mamba_expand hidden_size / n_mamba_heads
  use_conv_bias: flag(true),
  time_step_limit: timeStepLimit,
  rms_norm_eps: number(1e-5),
  tie_word_embeddings: flag(true),
  chunk_size: harmless, // changes how it is computed, not what
  use_mem_eff_path: harmless,
  ...initialTimeSteps,
  ...rotary, // rope_theta: 10,000 if absent
};

/** Zamba2 (Zyphra 2024, arXiv:2411.15242): Mamba-2, and transformer blocks that several layers share. */
export const zamba2 = architecture({
  type: 'zamba2',
  classes: ['Zamba2ForCausalLM'],
  fields,
  toConfig(f, place) {
    const { layers_block_type: types, num_hidden_layers: nLayers } = f;
    if (types !== undefined && types.length !== nLayers)
      place('layers_block_type').bad(`one for each of the ${nLayers} layers`);
    const numbers = Array.from({ length: Math.min(nLayers, limits.nLayers) }, (_, layer) => layer);
    const hybrid = numbers.filter((layer) =>
      types === undefined ? f.hybrid_layer_ids.includes(layer) : types[layer] === 'hybrid',
    );
    const dInner = Math.floor(f.mamba_expand * f.hidden_size);
    const nMambaHeads = Math.max(f.n_mamba_heads, 1);
    if (dInner % nMambaHeads !== 0)
      place('n_mamba_heads').bad(`a divisor of mamba_expand * hidden_size = ${dInner}`);
    const headDim =
      f.attention_head_dim ?? Math.floor((2 * f.hidden_size) / Math.max(f.num_attention_heads, 1));
    return {
      vocabSize: f.vocab_size,
      dModel: f.hidden_size,
      nLayers,
      mixer: {
        type: 'mamba2',
        dState: f.mamba_d_state,
        dConv: f.mamba_d_conv,
        dInner,
        headDim: dInner / nMambaHeads,
        nGroups: f.mamba_ngroups,
        bias: f.add_bias_linear,
        convBias: f.use_conv_bias,
        normEps: NORM_EPS,
        dtLimit: f.time_step_limit,
      },
      norm: { type: 'rms', eps: f.rms_norm_eps },
      position: f.use_mem_rope ? position(f, place, 10000) : 'none',
      sharedBlocks:
        hybrid.length === 0
          ? undefined
          : {
              layers: hybrid,
              count: Math.min(f.num_mem_blocks, hybrid.length),
              attention: {
                type: 'softmax-attention',
                nHeads: f.num_attention_heads,
                nKvHeads: f.num_key_value_heads,
                headDim,
                scale: 1 / Math.sqrt(headDim / 2),
              },
              dHidden: f.intermediate_size ?? 4 * f.hidden_size,
              bias: f.add_bias_linear,
              adapterRank: f.adapter_rank,
              attentionAdapters: f.use_shared_attention_adapter,
            },
      tieEmbeddings: f.tie_word_embeddings,
      naming: 'zamba2',
    };
  },
});

export const writeZamba2: Writer = (config) => {
  const { mixers, sharedBlocks: shared, naming } = config;
  const [mixer] = mixers;
  if (naming !== 'zamba2' || mixer.type !== 'mamba2' || !isAlike(mixers) || shared === undefined)
    return undefined;
  const { attention } = shared;
  const rope = config.position.type === 'none' ? {} : rotaryFile(config.position, attention.headDim);
  return (
    rope && {
      architectures: ['Zamba2ForCausalLM'],
      model_type: 'zamba2',
      vocab_size: config.vocabSize,
      hidden_size: config.dModel,
      num_hidden_layers: config.nLayers,
      layers_block_type: mixers.map((_, layer) => (shared.layers.includes(layer) ? 'hybrid' : 'mamba')),
      hybrid_layer_ids: shared.layers,
      num_mem_blocks: shared.count,
      num_attention_heads: attention.nHeads,
      num_key_value_heads: attention.nKvHeads,
      attention_head_dim: attention.headDim,
      attention_hidden_size: 2 * config.dModel,
      use_mem_rope: config.position.type === 'rope',
      use_long_context: false,
      use_shared_attention_adapter: shared.attentionAdapters,
      adapter_rank: shared.adapterRank,
      intermediate_size: shared.dHidden,
      hidden_act: 'gelu',
      add_bias_linear: mixer.bias,
      mamba_d_state: mixer.dState,
      mamba_d_conv: mixer.dConv,
      mamba_expand: mixer.dInner / config.dModel,
      mamba_ngroups: mixer.nGroups,
      n_mamba_heads: mixer.dInner / mixer.headDim,
      mamba_headdim: mixer.headDim,
      use_conv_bias: mixer.convBias,
      ...(mixer.dtLimit && { time_step_limit: mixer.dtLimit }),
      rms_norm_eps: config.norm.eps,
      ...rope,
      tie_word_embeddings: config.tieEmbeddings,
      torch_dtype: 'float32',
    }
  );
};
