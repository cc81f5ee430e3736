/** Mamba: a selective scan between two projections (Gu & Dao 2023). */
export interface MambaConfig {
  type: 'mamba';
  /** State size N of each channel; 16 if absent. */
  dState?: number;
  /** Width of the causal convolution; 4 if absent, 0 for none. */
  dConv?: number;
  /** dInner = expand * dModel; 2 if absent. */
  expand?: number;
  /** Channels of the scan, where they are no multiple of dModel. */
  dInner?: number;
  /** Rank of the projection that makes delta; ceil(dModel / 16) if absent. */
  dtRank?: number;
  /** Bias of the input and output projections; false if absent. */
  bias?: boolean;
  /** Bias of the convolution; true if absent. */
  convBias?: boolean;
  /** RMS norms of delta (before its projection), B and C: with weights in Jamba, without in Falcon-Mamba; `none` if absent. */
  innerNorms?: 'none' | 'weighted' | 'unweighted';
  /** Their epsilon; that of the model's norms if absent. */
  innerNormEps?: number;
}

/** Mamba-2: state space duality, one decay per head (Dao & Gu 2024). */
export interface Mamba2Config {
  type: 'mamba2';
  /** State size N of each channel; 128 if absent. */
  dState?: number;
  dConv?: number;
  expand?: number;
  dInner?: number;
  /** Channels per head; 64 if absent. dInner must be a multiple of it. */
  headDim?: number;
  /** Groups of heads that share B and C; 1 if absent. */
  nGroups?: number;
  /** Steps per chunk of the chunked form, up to 1,024; the kernel's choice if absent. */
  chunkSize?: number;
  bias?: boolean;
  convBias?: boolean;
  /** Whether the gated norm comes before the gate; false if absent. */
  normBeforeGate?: boolean;
  /** Bounds of dt after softplus; none if absent. */
  dtLimit?: readonly [number, number];
}

/** How linear attention maps queries and keys: as they are, max(x, 0), or elu(x) + 1. */
export type FeatureMap = 'identity' | 'relu' | 'elu1';

/** Linear attention, plain or with a forget factor (Katharopoulos et al. 2020; Yang et al. 2023). */
export interface LinearAttentionConfig {
  type: 'linear-attention';
  nHeads: number;
  /** Width of a head's queries and keys; dModel / nHeads if absent. */
  headDim?: number;
  /** Width of a head's values; headDim if absent. */
  valueDim?: number;
  /** `elu1` if absent. */
  featureMap?: FeatureMap;
  /** Whether outputs are divided by the sum of the weights; true if absent and there is no forget factor. */
  normalize?: boolean;
  /** `retention`: one fixed forget factor per head; `token`: one per head and token; `channel`: one per key channel and token (GLA). */
  forget?: 'none' | 'retention' | 'token' | 'channel';
  /** Width of a causal convolution with SiLU of queries, keys and values (Yang et al. 2024); 0, none, if absent. */
  dConv?: number;
}

/** DeltaNet: a state that is corrected, not only added to (Schlag et al. 2021; Yang et al. 2024). */
export interface DeltaRuleConfig {
  type: 'delta-rule';
  nHeads: number;
  headDim?: number;
  /** Whether a forget factor per head and token is learned too; false if absent. */
  gated?: boolean;
  /** Width of a causal convolution with SiLU of queries, keys and values; 0, none, if absent. */
  dConv?: number;
}

/**
 * Block-sparse patterns, causal (Child et al. 2019). `strided`: keys less than `stride` back, or a multiple of it.
 * `fixed`: keys of the query's own block of `stride`, and the last `summary` keys of each earlier block.
 */
export type SparsePattern =
  { pattern: 'strided'; stride: number } | { pattern: 'fixed'; stride: number; summary: number };

/** Softmax attention (Vaswani et al. 2017), with the positions that the model's config names. */
export interface SoftmaxAttentionConfig {
  type: 'softmax-attention';
  nHeads: number;
  /** Heads of keys and values, fewer for grouped queries; nHeads if absent. */
  nKvHeads?: number;
  /** Width of a head's queries and keys; dModel / nHeads if absent. */
  headDim?: number;
  /** Width of a head's values; headDim if absent. */
  valueDim?: number;
  /** Keys that a query sees, itself included; all earlier ones if absent. */
  window?: number;
  sparse?: SparsePattern;
  /** Bias of all four projections; if absent true where parameters are named as in GPT-2, else false. */
  bias?: boolean;
  /** Bias of the projections to q, k and v, if other than `bias`: Qwen2 has it and none for the output. */
  qkvBias?: boolean;
}

/** No mixer: the block is its MLP alone, as some of Nemotron-H are (NVIDIA 2025, arXiv:2504.03624). */
export interface NoMixerConfig {
  type: 'none';
}

export type MixerConfig =
  | MambaConfig
  | Mamba2Config
  | LinearAttentionConfig
  | DeltaRuleConfig
  | SoftmaxAttentionConfig
  | NoMixerConfig;

/** `relu` (Vaswani et al. 2017) and `gelu`: two layers; `swiglu`: a gated pair and one (Shazeer 2020). */
export interface MlpConfig {
  type: 'relu' | 'gelu' | 'swiglu' | 'none';
  /** Hidden width; 4 dModel for relu and gelu, 8/3 dModel rounded up to a multiple of 8 for swiglu, if absent. */
  dHidden?: number;
  /** Bias of each layer; if absent true for relu and gelu, false for swiglu. */
  bias?: boolean;
  /** Form of gelu: `tanh` (as GPT-2) if absent, or `none` for the exact one. */
  approximate?: 'tanh' | 'none';
  /** A mixture of this many experts, each of this shape; 1, no mixture, if absent. */
  experts?: number;
  /** Experts that a token goes to; all if absent. */
  active?: number;
}

/** Rules by which rotary frequencies are changed for longer contexts; the fields are those of Transformers. */
export type RopeScaling =
  | { type: 'linear' | 'dynamic' | 'yarn' | 'longrope'; factor?: number }
  | {
      type: 'llama3';
      factor: number;
      lowFreqFactor: number;
      highFreqFactor: number;
      originalMaxLength: number;
    };

/** Where positions come from: only softmax attention needs them. */
export type PositionConfig =
  | { type: 'none' }
  | { type: 'learned'; maxLength: number }
  | {
      type: 'rope';
      /** 10,000 if absent. */
      base?: number;
      /** Channels of each head that turn, an even number; the whole head if absent. */
      rotaryDim?: number;
      /** Which channels turn together: `half` (as Llama) if absent. */
      convention?: 'half' | 'interleaved';
      /** None if absent. */
      scaling?: RopeScaling;
    }
  | { type: 'alibi' };

export interface NormConfig {
  type: 'rms' | 'layer' | 'none';
  /** 1e-5 if absent. */
  eps?: number;
}

/** How parameters are named: as in the checkpoints of Hugging Face's Mamba, GPT-2 or Llama. */
export type Naming = 'mamba' | 'gpt2' | 'llama';

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
  /** Whether the head's weights are the embedding's; true if absent. */
  tieEmbeddings?: boolean;
  /**
   * How parameters are named: as in the checkpoints of Hugging Face's Mamba and Mamba-2 (`mamba`, also for all that
   * has no published name), `gpt2`, or `llama`. If absent, the one that fits the architecture.
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

type Filled<Config, Optional extends keyof Config = never> = Required<Omit<Config, Optional>> &
  Pick<Config, Optional>;

export type ResolvedMamba = Filled<Omit<MambaConfig, 'expand'>>;
export type ResolvedMamba2 = Filled<Omit<Mamba2Config, 'expand'>, 'chunkSize' | 'dtLimit'>;
export type ResolvedLinearAttention = Filled<LinearAttentionConfig>;
export type ResolvedDeltaRule = Filled<DeltaRuleConfig>;
/** `bias` is that of the output projection, `qkvBias` that of the other three. */
export type ResolvedSoftmaxAttention = Filled<SoftmaxAttentionConfig, 'window' | 'sparse'>;

export type ResolvedMixer =
  | ResolvedMamba
  | ResolvedMamba2
  | ResolvedLinearAttention
  | ResolvedDeltaRule
  | ResolvedSoftmaxAttention
  | NoMixerConfig;

interface Layers {
  dHidden: number;
  bias: boolean;
  experts: number;
  active: number;
}

export type ResolvedMlp =
  | { type: 'none' }
  | ({ type: 'relu' } & Layers)
  | ({ type: 'swiglu' } & Layers)
  | ({ type: 'gelu'; approximate: 'tanh' | 'none' } & Layers);

export type ResolvedPosition =
  | Exclude<PositionConfig, { type: 'rope' }>
  | Filled<Extract<PositionConfig, { type: 'rope' }>, 'rotaryDim' | 'scaling'>;

/** A config that was checked, with every default filled in: one mixer and one MLP per layer. */
export interface ResolvedConfig {
  vocabSize: number;
  dModel: number;
  nLayers: number;
  mixers: readonly ResolvedMixer[];
  mlps: readonly ResolvedMlp[];
  norm: Required<NormConfig>;
  position: ResolvedPosition;
  tieEmbeddings: boolean;
  naming: Naming;
  embeddingStd: number;
  seed: number;
}
