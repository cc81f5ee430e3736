import { harmless, only, type Values, whole } from '../fields.js';
import type { ModelConfig, PositionConfig, RopeScaling } from '../types.js';
import { ggufArchitecture, type Weights } from './architecture.js';
import { common, float, needed } from './fields.js';

/** Of Llama and what descends from it. */
const fields = {
  ...common,
  context_length: whole(), // of the training, where yarn stretches it
  feed_forward_length: needed,
  'attention.head_count': needed,
  'attention.head_count_kv': whole(), // attention.head_count if absent
  'attention.key_length': whole(), // embedding_length / attention.head_count if absent
  'attention.value_length': whole(),
  'attention.layer_norm_rms_epsilon': float(1e-5),
  'attention.sliding_window': whole(),
  'rope.dimension_count': whole(), // the whole head if absent
  'rope.freq_base': float(10000),
  'rope.scaling.type': only('linear', 'none', 'yarn', 'longrope'),
  'rope.scaling.factor': float(),
  'rope.scaling.attn_factor': harmless, // of longrope, which configs only name
  'rope.scaling.yarn_log_multiplier': only(undefined, 0),
  'rope.scaling.yarn_ext_factor': only(undefined, 1),
  'rope.scaling.yarn_attn_factor': only(undefined, 1),
  'rope.scaling.yarn_beta_fast': float(),
  'rope.scaling.yarn_beta_slow': float(),
  'rope.scaling.original_context_length': whole(), // context_length if absent
  'rope.scaling.finetuned': harmless,
  'rope.scale_linear': float(), // the older name of the factor
};

type Fields = Values<typeof fields>;

function scaling(f: Fields, type: 'linear' | 'yarn' | 'longrope', factor: number): RopeScaling {
  if (type !== 'yarn') return { type, factor };
  return {
    type,
    factor,
    originalMaxLength: f['rope.scaling.original_context_length'] ?? f.context_length ?? 0,
    betaFast: f['rope.scaling.yarn_beta_fast'],
    betaSlow: f['rope.scaling.yarn_beta_slow'],
  };
}

function position(f: Fields, headDim: number): PositionConfig {
  const type = f['rope.scaling.type'];
  const factor = f['rope.scaling.factor'] ?? f['rope.scale_linear'] ?? 1;
  const scaled = type !== 'none' && (type !== 'linear' || factor !== 1);
  const rotaryDim = f['rope.dimension_count'];
  return {
    type: 'rope',
    base: f['rope.freq_base'],
    rotaryDim: rotaryDim === headDim ? undefined : rotaryDim,
    scaling: scaled ? scaling(f, type, factor) : undefined,
  };
}

const toConfig = (f: Fields, weights: Weights): ModelConfig => {
  const nHeads = f['attention.head_count'];
  const headDim = f['attention.key_length'] ?? Math.floor(f.embedding_length / Math.max(nHeads, 1));
  return {
    vocabSize: weights.vocabSize,
    dModel: f.embedding_length,
    nLayers: f.block_count,
    mixer: {
      type: 'softmax-attention',
      nHeads,
      nKvHeads: f['attention.head_count_kv'],
      headDim: headDim === 0 ? undefined : headDim,
      valueDim: f['attention.value_length'],
      window: f['attention.sliding_window'],
      bias: weights.has('blk.0.attn_output.bias'),
      qkvBias: weights.has('blk.0.attn_q.bias'),
    },
    mlp: { type: 'swiglu', dHidden: f.feed_forward_length, bias: weights.has('blk.0.ffn_down.bias') },
    norm: { type: 'rms', eps: f['attention.layer_norm_rms_epsilon'] },
    position: position(f, headDim),
    tieEmbeddings: weights.tieEmbeddings,
    naming: 'llama',
  };
};

/** Llama and Mistral. */
export const llama = ggufArchitecture({ name: 'llama', fields, toConfig });

/** Qwen2: Llama with biases of q, k and v. */
export const qwen2 = ggufArchitecture({ name: 'qwen2', fields, toConfig });
