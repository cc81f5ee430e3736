import { ArgumentError, type FeatureMap, type SparsePattern } from '@freelunch/kernels';

/** Mamba: a selective scan between two projections (Gu & Dao 2023). */
export interface MambaConfig {
  type: 'mamba';
  /** State size N of each channel; 16 if absent. */
  dState?: number;
  /** Width of the causal convolution; 4 if absent, 0 for none. */
  dConv?: number;
  /** dInner = expand * dModel; 2 if absent. */
  expand?: number;
  /** Rank of the projection that makes delta; ceil(dModel / 16) if absent. */
  dtRank?: number;
  /** Bias of the input and output projections; false if absent. */
  bias?: boolean;
  /** Bias of the convolution; true if absent. */
  convBias?: boolean;
}

/** Mamba-2: state space duality, one decay a head (Dao & Gu 2024). */
export interface Mamba2Config {
  type: 'mamba2';
  /** State size N of each channel; 128 if absent. */
  dState?: number;
  dConv?: number;
  expand?: number;
  /** Channels a head; 64 if absent. dInner must be a multiple of it. */
  headDim?: number;
  /** Groups of heads that share B and C; 1 if absent. */
  nGroups?: number;
  /** Steps a chunk of the chunked form; the kernel's choice if absent. */
  chunkSize?: number;
  bias?: boolean;
  convBias?: boolean;
  /** Whether the gated norm comes before the gate; false if absent. */
  normBeforeGate?: boolean;
  /** Bounds of dt after softplus; none if absent. */
  dtLimit?: readonly [number, number];
}

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
  /** `retention`: one fixed forget factor a head; `token`: one a head and token; `channel`: one a key channel and token (GLA). */
  forget?: 'none' | 'retention' | 'token' | 'channel';
}

/** DeltaNet: a state that is corrected, not only added to (Schlag et al. 2021; Yang et al. 2024). */
export interface DeltaRuleConfig {
  type: 'delta-rule';
  nHeads: number;
  headDim?: number;
  /** Whether a forget factor a head and token is learned too; false if absent. */
  gated?: boolean;
}

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
  bias?: boolean;
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
}

/** Where positions come from: only softmax attention needs them. */
export type PositionConfig =
  | { type: 'none' }
  | { type: 'learned'; maxLength: number }
  | { type: 'rope'; base?: number; rotaryDim?: number; convention?: 'half' | 'interleaved' }
  | { type: 'alibi' };

export interface NormConfig {
  type: 'rms' | 'layer' | 'none';
  /** 1e-5 if absent. */
  eps?: number;
}

/** A language model: token embedding, pre-norm residual blocks of a mixer, an MLP or both, norm, head. */
export interface ModelConfig {
  vocabSize: number;
  dModel: number;
  nLayers: number;
  /** One for all layers, or one a layer: a hybrid. */
  mixer: MixerConfig | readonly MixerConfig[];
  /** One for all layers, or one a layer; `none` if absent. A layer without a mixer has one. */
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
  naming?: 'mamba' | 'gpt2' | 'llama';
  /** Seed of the initial weights; 0 if absent. */
  seed?: number;
}

/** The config with every default filled in. */
export interface ResolvedConfig extends Omit<ModelConfig, 'mixer' | 'mlp' | 'norm' | 'position'> {
  mixers: readonly MixerConfig[];
  mlps: readonly MlpConfig[];
  norm: Required<NormConfig>;
  position: PositionConfig;
  tieEmbeddings: boolean;
  naming: 'mamba' | 'gpt2' | 'llama';
  seed: number;
}

function fail(name: string, wanted: string, got: unknown): never {
  throw new ArgumentError(
    `createModel: ${name} must be ${wanted}, got ${typeof got === 'string' ? `'${got}'` : JSON.stringify(got)}`,
  );
}

function whole(name: string, value: unknown, least = 1): void {
  if (!Number.isSafeInteger(value) || (value as number) < least)
    fail(name, `a whole number from ${least} up`, value);
}

const byType = <T extends { type: string }>(value: T | string | undefined, absent: string): T =>
  (typeof value === 'object' && value !== null ? value : { type: value ?? absent }) as T;

/** Checks fields that are true or false, where they are given. */
function flags(name: string, value: object, keys: readonly string[]): void {
  for (const key of keys) {
    const flag = (value as Record<string, unknown>)[key];
    if (flag !== undefined && typeof flag !== 'boolean') fail(`${name}.${key}`, 'true or false', flag);
  }
}

function checkLimit(name: string, limit: unknown): void {
  if (limit === undefined) return;
  const [least, most] = Array.isArray(limit) && limit.length === 2 ? (limit as unknown[]) : [];
  if (!(typeof least === 'number' && typeof most === 'number' && least >= 0 && most >= least))
    fail(name, '[min, max] with 0 <= min <= max', limit);
}

function checkRope({
  base = 10000,
  rotaryDim,
  convention = 'half',
}: PositionConfig & { type: 'rope' }): void {
  if (!(typeof base === 'number' && base >= 1 && base < Infinity))
    fail('position.base', 'a finite number from 1 up', base);
  if (rotaryDim !== undefined && (whole('position.rotaryDim', rotaryDim, 2), rotaryDim % 2 !== 0))
    fail('position.rotaryDim', 'even', rotaryDim);
  if (!['half', 'interleaved'].includes(convention))
    fail('position.convention', "'half' or 'interleaved'", convention);
}

function checkMixer(name: string, mixer: MixerConfig, dModel: number): void {
  const positive = (key: string, value: unknown, least = 1) =>
    value !== undefined && whole(`${name}.${key}`, value, least);
  if (typeof mixer !== 'object' || mixer === null) fail(name, 'an object with a type', mixer);
  flags(name, mixer, ['bias', 'convBias', 'normBeforeGate', 'normalize', 'gated']);
  switch (mixer.type) {
    case 'mamba':
    case 'mamba2':
      positive('dState', mixer.dState);
      positive('dConv', mixer.dConv, 0);
      positive('expand', mixer.expand);
      if (mixer.type === 'mamba') positive('dtRank', mixer.dtRank);
      else {
        positive('headDim', mixer.headDim);
        positive('nGroups', mixer.nGroups);
        positive('chunkSize', mixer.chunkSize);
        const dInner = (mixer.expand ?? 2) * dModel;
        const headDim = mixer.headDim ?? 64;
        if (dInner % headDim !== 0) fail(`${name}.headDim`, `a divisor of dInner = ${dInner}`, headDim);
        if ((dInner / headDim) % (mixer.nGroups ?? 1) !== 0)
          fail(`${name}.nGroups`, `a divisor of the ${dInner / headDim} heads`, mixer.nGroups);
        checkLimit(`${name}.dtLimit`, mixer.dtLimit);
      }
      return;
    case 'linear-attention':
    case 'delta-rule':
    case 'softmax-attention':
      whole(`${name}.nHeads`, mixer.nHeads);
      positive('headDim', mixer.headDim);
      if (mixer.type !== 'delta-rule') positive('valueDim', mixer.valueDim);
      if (mixer.headDim === undefined && dModel % mixer.nHeads !== 0)
        fail(`${name}.nHeads`, `a divisor of dModel = ${dModel}, or headDim given`, mixer.nHeads);
      if (mixer.type === 'softmax-attention') {
        positive('nKvHeads', mixer.nKvHeads);
        positive('window', mixer.window);
        if (mixer.nHeads % (mixer.nKvHeads ?? mixer.nHeads) !== 0)
          fail(`${name}.nKvHeads`, `a divisor of nHeads = ${mixer.nHeads}`, mixer.nKvHeads);
      }
      if (
        mixer.type === 'linear-attention' &&
        !['identity', 'relu', 'elu1'].includes(mixer.featureMap ?? 'elu1')
      ) {
        fail(`${name}.featureMap`, "one of 'identity', 'relu', 'elu1'", mixer.featureMap);
      }
      if (
        mixer.type === 'linear-attention' &&
        !['none', 'retention', 'token', 'channel'].includes(mixer.forget ?? 'none')
      ) {
        fail(`${name}.forget`, "one of 'none', 'retention', 'token', 'channel'", mixer.forget);
      }
      return;
    case 'none':
      return;
    default:
      fail(
        `${name}.type`,
        "one of 'mamba', 'mamba2', 'linear-attention', 'delta-rule', 'softmax-attention', 'none'",
        (mixer as { type?: unknown })?.type,
      );
  }
}

function checkMlp(name: string, mlp: MlpConfig): void {
  if (!['none', 'relu', 'gelu', 'swiglu'].includes(mlp.type))
    fail(name, "'none', 'relu', 'gelu' or 'swiglu'", mlp.type);
  if (mlp.dHidden !== undefined) whole(`${name}.dHidden`, mlp.dHidden);
  flags(name, mlp, ['bias']);
  if (!['tanh', 'none'].includes(mlp.approximate ?? 'tanh'))
    fail(`${name}.approximate`, "'tanh' or 'none'", mlp.approximate);
}

/** One a layer, with the name that messages give each. */
function eachLayer<T>(name: string, value: T | readonly T[], nLayers: number): { name: string; value: T }[] {
  if (!Array.isArray(value)) return Array.from({ length: nLayers }, () => ({ name, value: value as T }));
  if (value.length !== nLayers) fail(name, `one, or ${nLayers} as there are layers`, value.length);
  return (value as readonly T[]).map((item, i) => ({ name: `${name}[${i}]`, value: item }));
}

/** Checks a config and fills in what is absent. @throws ArgumentError naming the field, what it must be and what it is */
export function resolveConfig(config: ModelConfig): ResolvedConfig {
  whole('vocabSize', config.vocabSize);
  whole('dModel', config.dModel);
  whole('nLayers', config.nLayers);
  const { mixer, mlp, ...rest } = config;
  const mixers = eachLayer<MixerConfig>('mixer', mixer, config.nLayers).map(({ name, value }) => {
    checkMixer(name, value, config.dModel);
    return value;
  });
  const mlps = eachLayer('mlp', mlp, config.nLayers).map(({ name, value }, layer) => {
    const resolved = byType<MlpConfig>(value, 'none');
    checkMlp(name, resolved);
    if (resolved.type === 'none' && mixers[layer].type === 'none')
      fail(name, `other than 'none' in layer ${layer}, which has no mixer`, resolved.type);
    return resolved;
  });
  const norm = byType<NormConfig>(config.norm, 'rms');
  if (!['rms', 'layer', 'none'].includes(norm.type)) fail('norm', "'rms', 'layer' or 'none'", norm.type);
  if (norm.eps !== undefined && !(norm.eps >= 0 && norm.eps < 1))
    fail('norm.eps', 'a number from 0 to 1', norm.eps);
  const position = byType<PositionConfig>(config.position, 'none');
  if (!['none', 'learned', 'rope', 'alibi'].includes(position.type))
    fail('position', "'none', 'learned', 'rope' or 'alibi'", position.type);
  if (position.type === 'learned') whole('position.maxLength', position.maxLength);
  if (position.type === 'rope') checkRope(position);
  flags('config', config, ['tieEmbeddings']);
  const seed = config.seed ?? 0;
  if (!Number.isSafeInteger(seed) || seed < 0) fail('seed', 'a whole number from 0 up', seed);

  const softmaxOnly = mixers.every((mixer) => mixer.type === 'softmax-attention');
  const mlpOnly = (type: MlpConfig['type']) => mlps.every((one) => one.type === type);
  const gpt2 = softmaxOnly && position.type === 'learned' && norm.type === 'layer' && mlpOnly('gelu');
  const llama = softmaxOnly && norm.type === 'rms' && mlpOnly('swiglu') && position.type !== 'learned';
  if (config.naming !== undefined && !['mamba', 'gpt2', 'llama'].includes(config.naming))
    fail('naming', "'mamba', 'gpt2' or 'llama'", config.naming);
  const naming = config.naming ?? (gpt2 ? 'gpt2' : llama ? 'llama' : 'mamba');
  if (naming === 'gpt2' && !gpt2)
    fail(
      'naming',
      "'mamba': only softmax attention with learned positions, layer norm and gelu is named as GPT-2",
      naming,
    );
  if (naming === 'llama' && !llama)
    fail('naming', "'mamba': only softmax attention with rms norm and swiglu is named as Llama", naming);
  return {
    ...rest,
    mixers,
    mlps,
    norm: { type: norm.type, eps: norm.eps ?? 1e-5 },
    position,
    tieEmbeddings: config.tieEmbeddings ?? true,
    naming,
    seed,
  };
}
