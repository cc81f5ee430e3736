import { flag, number, only, rank, whole } from '../fields.js';
import { limits } from '../limits.js';
import type { MambaConfig, MlpConfig } from '../types.js';
import { architecture, fileOfLayers, layersOf, type Writer } from './architecture.js';
import { llamaAttention } from './llama.js';

const fields = {
  vocab_size: whole(65536),
  hidden_size: whole(4096),
  intermediate_size: whole(14336),
  num_hidden_layers: whole(32),
  num_attention_heads: whole(32),
  num_key_value_heads: whole(8),
  hidden_act: only('silu', 'swish'),
  rms_norm_eps: number(1e-6),
  tie_word_embeddings: flag(false),
  sliding_window: only(null),
  attn_layer_period: whole(8),
  attn_layer_offset: whole(4),
  num_experts: whole(16),
  num_experts_per_tok: whole(2),
  expert_layer_period: whole(2),
  expert_layer_offset: whole(1),
  mamba_d_state: whole(16),
  mamba_d_conv: whole(4),
  mamba_expand: number(2),
  mamba_dt_rank: rank,
  mamba_conv_bias: flag(true),
  mamba_proj_bias: flag(false),
};

/** Jamba (Lieber et al. 2024, arXiv:2403.19887): layers of Mamba and of attention, every second MLP a mixture of experts. */
export const jamba = architecture({
  type: 'jamba',
  classes: ['JambaForCausalLM'],
  fields,
  toConfig(f) {
    const attention = llamaAttention({ ...f, head_dim: undefined });
    const mamba: MambaConfig = {
      type: 'mamba',
      dState: f.mamba_d_state,
      dConv: f.mamba_d_conv,
      dInner: Math.floor(f.mamba_expand * f.hidden_size),
      dtRank: f.mamba_dt_rank,
      bias: f.mamba_proj_bias,
      convBias: f.mamba_conv_bias,
      innerNorms: 'weighted',
    };
    const dense: MlpConfig = { type: 'swiglu', dHidden: f.intermediate_size };
    const mixture: MlpConfig = { ...dense, experts: f.num_experts, active: f.num_experts_per_tok };
    const layers = Array.from({ length: Math.min(f.num_hidden_layers, limits.nLayers) }, (_, layer) => layer);
    return {
      vocabSize: f.vocab_size,
      dModel: f.hidden_size,
      nLayers: f.num_hidden_layers,
      mixer: layers.map((i) => (i % f.attn_layer_period === f.attn_layer_offset ? attention : mamba)),
      mlp: layers.map((i) =>
        f.num_experts > 1 && i % f.expert_layer_period === f.expert_layer_offset ? mixture : dense,
      ),
      norm: { type: 'rms', eps: f.rms_norm_eps },
      position: 'none',
      tieEmbeddings: f.tie_word_embeddings,
      naming: 'jamba',
    };
  },
});

/** Every how many layers a kind comes, and the first of them. */
function every(layers: readonly number[], nLayers: number): { period: number; offset: number } {
  const [offset = nLayers, next = offset + nLayers] = layers;
  return { period: next - offset, offset };
}

export const writeJamba: Writer = (config) => {
  const { mixers, mlps } = config;
  const attention = mixers.find((mixer) => mixer.type === 'softmax-attention');
  const mamba = mixers.find((mixer) => mixer.type === 'mamba');
  const [mlp] = mlps;
  if (config.naming !== 'jamba' || mamba === undefined || mlp.type === 'none') return undefined;
  const { period, offset } = every(layersOf(mixers, 'softmax-attention'), config.nLayers);
  return fileOfLayers(jamba, {
    vocab_size: config.vocabSize,
    hidden_size: config.dModel,
    intermediate_size: mlp.dHidden,
    num_hidden_layers: config.nLayers,
    num_attention_heads: attention?.nHeads ?? 1,
    num_key_value_heads: attention?.nKvHeads ?? 1,
    hidden_act: 'silu',
    rms_norm_eps: config.norm.eps,
    tie_word_embeddings: config.tieEmbeddings,
    attn_layer_period: period,
    attn_layer_offset: offset,
    num_experts: 1,
    num_experts_per_tok: 1,
    mamba_d_state: mamba.dState,
    mamba_d_conv: mamba.dConv,
    mamba_expand: mamba.dInner / config.dModel,
    mamba_dt_rank: mamba.dtRank,
    mamba_conv_bias: mamba.convBias,
    mamba_proj_bias: mamba.bias,
  });
};
