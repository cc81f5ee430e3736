import { type Field, flag, harmless, layerTypes, number, only, timeStepLimit, whole } from '../fields.js';
import type { Mamba2Config, MlpConfig, ResolvedConfig, SoftmaxAttentionConfig } from '../types.js';
import { architecture, fileOfLayers, type Writer } from './architecture.js';
import { initialTimeSteps } from './mamba.js';

type Kind = 'mamba' | 'attention' | 'mlp';

const letters: Readonly<Record<string, Kind>> = { M: 'mamba', '*': 'attention', '-': 'mlp' };

/** A letter per layer; E would be experts. */
const pattern: Field<readonly Kind[] | undefined> = (value, place) => {
  if (value === undefined || value === null) return undefined;
  const text: string = typeof value === 'string' ? value : place.bad('a text with a letter per layer');
  if (!/^[M*-]*$/.test(text)) place.unsupported('made of M, * and - alone, for Mamba-2, attention and MLP');
  return [...text].map((letter) => letters[letter]);
};

const fields = {
  vocab_size: whole(131072),
  hidden_size: whole(4096),
  intermediate_size: whole(21504),
  num_hidden_layers: whole(), // as many as layers are named
  hybrid_override_pattern: pattern, // up to Transformers 4
  layers_block_type: layerTypes('mamba', 'linear_attention', 'attention', 'full_attention', 'mlp'), // since 5
  num_attention_heads: whole(32),
  num_key_value_heads: whole(8),
  head_dim: whole(),
  attention_head_dim: whole(), // the name of head_dim in some files
  attention_bias: flag(false),
  sliding_window: only(null),
  mamba_num_heads: whole(128),
  mamba_head_dim: whole(64),
  ssm_state_size: whole(128),
  n_groups: whole(8),
  conv_kernel: whole(4),
  use_conv_bias: flag(true),
  use_bias: flag(false), // of Mamba-2's projections
  time_step_limit: timeStepLimit,
  mamba_hidden_act: only('silu', 'swish'),
  mlp_hidden_act: only('relu2'),
  mlp_bias: flag(false),
  layer_norm_epsilon: number(1e-5), // of all norms
  tie_word_embeddings: flag(false),
  ...initialTimeSteps,
  // Nothing reads these where no layer has experts.
  rms_norm_eps: harmless,
  mamba_proj_bias: harmless,
  expand: harmless,
  time_step_rank: harmless,
  chunk_size: harmless,
  mamba_ssm_cache_dtype: harmless,
  moe_intermediate_size: harmless,
  moe_latent_size: harmless,
  moe_shared_expert_intermediate_size: harmless,
  moe_shared_expert_overlap: harmless,
  n_group: harmless,
  n_routed_experts: harmless,
  n_shared_experts: harmless,
  norm_topk_prob: harmless,
  num_experts_per_tok: harmless,
  routed_scaling_factor: harmless,
  topk_group: harmless,
  // Layers that foretell further tokens, which text can be made without.
  mtp_layers_block_type: harmless,
  num_nextn_predict_layers: harmless,
};

const HEAD_DIM = 128;

/** Nemotron-H (NVIDIA 2025, arXiv:2504.03624): layers that are Mamba-2, attention without positions, or an MLP. */
export const nemotronH = architecture({
  type: 'nemotron_h',
  classes: ['NemotronHForCausalLM'],
  fields,
  toConfig(f, place) {
    const listed = f.layers_block_type?.map((type): Kind =>
      type === 'mlp' ? 'mlp' : type === 'mamba' || type === 'linear_attention' ? 'mamba' : 'attention',
    );
    const kinds = listed ?? f.hybrid_override_pattern ?? place('hybrid_override_pattern').bad('given');
    if ((f.num_hidden_layers ?? kinds.length) !== kinds.length)
      place('num_hidden_layers').bad(`${kinds.length}, as many as layers are named`);
    const { head_dim: headDim = f.attention_head_dim ?? HEAD_DIM } = f;
    if ((f.attention_head_dim ?? headDim) !== headDim)
      place('attention_head_dim').bad(`head_dim = ${headDim}`);
    const mamba: Mamba2Config = {
      type: 'mamba2',
      dState: f.ssm_state_size,
      dConv: f.conv_kernel,
      dInner: f.mamba_num_heads * f.mamba_head_dim,
      headDim: f.mamba_head_dim,
      nGroups: f.n_groups, // of the gated norm too
      bias: f.use_bias,
      convBias: f.use_conv_bias,
      dtLimit: f.time_step_limit,
    };
    const attention: SoftmaxAttentionConfig = {
      type: 'softmax-attention',
      nHeads: f.num_attention_heads,
      nKvHeads: f.num_key_value_heads,
      headDim,
      bias: f.attention_bias,
    };
    const mlp: MlpConfig = { type: 'relu2', dHidden: f.intermediate_size, bias: f.mlp_bias };
    const mixers = { mamba, attention, mlp: { type: 'none' } } as const;
    return {
      vocabSize: f.vocab_size,
      dModel: f.hidden_size,
      nLayers: kinds.length,
      mixer: kinds.map((kind) => mixers[kind]),
      mlp: kinds.map((kind) => (kind === 'mlp' ? mlp : 'none')),
      norm: { type: 'rms', eps: f.layer_norm_epsilon },
      tieEmbeddings: f.tie_word_embeddings,
      naming: 'nemotron_h',
    };
  },
});

const letterOf = ({ mixers }: ResolvedConfig, layer: number): string =>
  (({ mamba2: 'M', 'softmax-attention': '*' }) as Readonly<Record<string, string>>)[mixers[layer].type] ??
  '-';

export const writeNemotronH: Writer = (config) => {
  const { naming, mixers, mlps, nLayers } = config;
  if (naming !== 'nemotron_h') return undefined;
  const mamba = mixers.find((mixer) => mixer.type === 'mamba2');
  const attention = mixers.find((mixer) => mixer.type === 'softmax-attention');
  const mlp = mlps.find((one) => one.type !== 'none');
  return fileOfLayers(nemotronH, {
    vocab_size: config.vocabSize,
    hidden_size: config.dModel,
    num_hidden_layers: nLayers,
    hybrid_override_pattern: Array.from({ length: nLayers }, (_, layer) => letterOf(config, layer)).join(''),
    ...(mlp && { intermediate_size: mlp.dHidden, mlp_bias: mlp.bias }),
    mlp_hidden_act: 'relu2',
    ...(attention && {
      num_attention_heads: attention.nHeads,
      num_key_value_heads: attention.nKvHeads,
      head_dim: attention.headDim,
      attention_bias: attention.bias,
    }),
    ...(mamba && {
      mamba_num_heads: mamba.dInner / mamba.headDim,
      mamba_head_dim: mamba.headDim,
      ssm_state_size: mamba.dState,
      n_groups: mamba.nGroups,
      conv_kernel: mamba.dConv,
      use_conv_bias: mamba.convBias,
      use_bias: mamba.bias,
      ...(mamba.dtLimit && { time_step_limit: mamba.dtLimit }),
    }),
    mamba_hidden_act: 'silu',
    layer_norm_epsilon: config.norm.eps,
    tie_word_embeddings: config.tieEmbeddings,
  });
};
