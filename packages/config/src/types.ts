import type { Filled } from './filled.js';
import type { MixerConfig, ResolvedMixer } from './mixers/index.js';
import type { MlpConfig, ResolvedMlp } from './mlp.js';
import type { Naming } from './naming.js';
import type { PositionConfig, ResolvedPosition } from './position.js';
import type { ResolvedSharedBlocks, SharedBlocksConfig } from './shared-blocks.js';

export type {
  MixerConfig,
  NoMixerConfig,
  ResolvedMixer,
  ResolvedSingleMixer,
  SingleMixerConfig,
} from './mixers/index.js';
export type { GatedDeltaNetConfig, ResolvedGatedDeltaNet } from './mixers/gated-delta-net.js';
export type { Branch, ParallelConfig, ResolvedParallel } from './mixers/parallel.js';
export type { ResolvedShortConv, ShortConvConfig } from './mixers/short-conv.js';
export type { DeltaRuleConfig, ResolvedDeltaRule } from './mixers/delta-rule.js';
export type {
  FeatureMap,
  LinearAttentionConfig,
  ResolvedLinearAttention,
} from './mixers/linear-attention.js';
export type { MambaConfig, ResolvedMamba } from './mixers/mamba.js';
export type { Mamba2Config, ResolvedMamba2 } from './mixers/mamba2.js';
export type { Mamba3Config, ResolvedMamba3 } from './mixers/mamba3.js';
export type {
  ResolvedSoftmaxAttention,
  SoftmaxAttentionConfig,
  SparsePattern,
} from './mixers/softmax-attention.js';
export type { MlpConfig, ResolvedMlp } from './mlp.js';
export type { Naming } from './naming.js';
export type { PositionConfig, ResolvedPosition, RopeScaling } from './position.js';
export type { ResolvedSharedBlocks, SharedBlocksConfig } from './shared-blocks.js';

export interface NormConfig {
  type: 'rms' | 'layer' | 'none';
  /** 1e-5 if absent. */
  eps?: number;
  /** Of rms: whether its weight w stands for 1 + w, as Qwen3-Next has it; false if absent. */
  zeroCentered?: boolean;
}

/** A language model: token embedding, pre-norm residual blocks of a mixer, an MLP or both, norm, head. */
export interface ModelConfig {
  vocabSize: number;
  dModel: number;
  nLayers: number;
  /** One for all layers, or one per layer: a hybrid. */
  mixer: MixerConfig | readonly MixerConfig[];
  /** One for all layers, or one per layer; `none` if absent. A layer without a mixer has one. */
  mlp?: MlpConfig | MlpConfig['type'] | readonly (MlpConfig | MlpConfig['type'])[];
  /** `rms` if absent. */
  norm?: NormConfig | NormConfig['type'];
  /** `none` if absent. */
  position?: PositionConfig | 'none' | 'rope' | 'alibi';
  /** None if absent. */
  sharedBlocks?: SharedBlocksConfig;
  /** Whether the head's weights are the embedding's; true if absent. */
  tieEmbeddings?: boolean;
  /** What embeddings, mixers and MLPs (as they are added to the residual stream) and logits are multiplied by; 1 if absent. */
  embeddingMultiplier?: number;
  residualMultiplier?: number;
  logitsMultiplier?: number;
  /**
   * How parameters are named: as in the checkpoints of Hugging Face's Mamba and Mamba-2 (`mamba`, also for all that
   * has no published name), `gpt2`, `llama`, or another architecture. If absent, `gpt2` or `llama` where the model is of
   * their form, else `mamba`.
   */
  naming?: Naming;
  /**
   * Standard deviation of initial embeddings, of tokens and of learned positions; 0.02 if absent. It should be well above the learning rate where the vocabulary is small: Adam moves each weight by about the rate in a
   * step, and embeddings that start small then run together.
   */
  embeddingStd?: number;
  /** Seed of the initial weights; 0 if absent. */
  seed?: number;
}

/** A config that was checked, with every default filled in: one mixer and one MLP per layer. */
export interface ResolvedConfig {
  vocabSize: number;
  dModel: number;
  nLayers: number;
  mixers: readonly ResolvedMixer[];
  mlps: readonly ResolvedMlp[];
  norm: Filled<NormConfig>;
  position: ResolvedPosition;
  sharedBlocks?: ResolvedSharedBlocks;
  tieEmbeddings: boolean;
  embeddingMultiplier: number;
  residualMultiplier: number;
  logitsMultiplier: number;
  naming: Naming;
  embeddingStd: number;
  seed: number;
}
