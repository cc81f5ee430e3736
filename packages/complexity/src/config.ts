import type { Sparse } from './ops/softmax-attention.js';

/** What a model consists of. Configs of @freelunch/models are such configs; these may also have mixtures of experts. */
export interface ModelConfig {
  vocabSize: number;
  dModel: number;
  nLayers: number;
  /** One for all layers, or one a layer. */
  mixer: MixerConfig | readonly MixerConfig[];
  mlp?: MlpConfig | MlpConfig['type'] | readonly (MlpConfig | MlpConfig['type'])[];
  norm?: { type: NormType } | NormType;
  position?: PositionConfig | PositionConfig['type'];
  tieEmbeddings?: boolean;
  naming?: 'mamba' | 'gpt2' | 'llama';
}

type NormType = 'rms' | 'layer' | 'none';

export type PositionConfig =
  | { type: 'none' | 'alibi' }
  | { type: 'learned'; maxLength: number }
  | { type: 'rope'; rotaryDim?: number; convention?: 'half' | 'interleaved' };

export interface MlpConfig {
  type: 'relu' | 'gelu' | 'swiglu' | 'none';
  dHidden?: number;
  bias?: boolean;
  approximate?: 'tanh' | 'none';
  /** A mixture of so many experts, of which a token takes `active`. */
  experts?: number;
  active?: number;
}

export type MixerConfig =
  | {
      type: 'mamba';
      dState?: number;
      dConv?: number;
      expand?: number;
      dtRank?: number;
      bias?: boolean;
      convBias?: boolean;
      /** Whether delta, B and C are normalised, as in Jamba; false if absent. */
      innerNorms?: boolean;
    }
  | {
      type: 'mamba2';
      dState?: number;
      dConv?: number;
      expand?: number;
      headDim?: number;
      nGroups?: number;
      chunkSize?: number;
      bias?: boolean;
      convBias?: boolean;
      normBeforeGate?: boolean;
    }
  | {
      type: 'linear-attention';
      nHeads: number;
      headDim?: number;
      valueDim?: number;
      featureMap?: 'identity' | 'relu' | 'elu1';
      normalize?: boolean;
      forget?: 'none' | 'retention' | 'token' | 'channel';
    }
  | { type: 'delta-rule'; nHeads: number; headDim?: number; gated?: boolean }
  | {
      type: 'softmax-attention';
      nHeads: number;
      nKvHeads?: number;
      headDim?: number;
      valueDim?: number;
      window?: number;
      sparse?: Sparse;
      bias?: boolean;
      /** Whether q, k and v have biases and the output none, as in Qwen. */
      qkvBias?: boolean;
    }
  | { type: 'none' };

export interface ResolvedConfig {
  vocabSize: number;
  dModel: number;
  mixers: readonly MixerConfig[];
  mlps: readonly MlpConfig[];
  norm: NormType;
  position: PositionConfig;
  tieEmbeddings: boolean;
  /** Whether q, k and v are one projection and weights lie as `[in, out]`: GPT-2. */
  fused: boolean;
}

const typed = <T extends { type: string }>(value: T | T['type'] | undefined, absent: T['type']): T =>
  (typeof value === 'object' ? value : { type: value ?? absent }) as T;

const mixerTypes = ['mamba', 'mamba2', 'linear-attention', 'delta-rule', 'softmax-attention', 'none'];
const mlpTypes = ['none', 'relu', 'gelu', 'swiglu'];

function fail(name: string, wanted: string, got: unknown): never {
  throw new RangeError(`cost: ${name} must be ${wanted}, got ${JSON.stringify(got)}`);
}

export function whole(name: string, value: unknown, least = 1): number {
  if (!Number.isSafeInteger(value) || (value as number) < least)
    fail(name, `a whole number from ${least} up`, value);
  return value as number;
}

/** Checks a config and fills in what is absent. @throws RangeError naming the field */
export function resolveConfig(config: ModelConfig): ResolvedConfig {
  const { vocabSize, dModel, nLayers } = config;
  for (const [name, value] of Object.entries({ vocabSize, dModel, nLayers })) whole(name, value);
  const each = <T>(name: string, value: T | readonly T[]): readonly T[] => {
    const list = Array.isArray(value)
      ? (value as readonly T[])
      : Array.from({ length: nLayers }, () => value as T);
    if (list.length !== nLayers) fail(name, `one, or ${nLayers} as there are layers`, list.length);
    return list;
  };
  const mixers = each('mixer', config.mixer);
  mixers.forEach((mixer, i) => {
    if (!mixerTypes.includes(mixer?.type))
      fail(`mixer[${i}].type`, `one of ${mixerTypes.join(', ')}`, mixer?.type);
    for (const [name, value] of Object.entries(mixer)) {
      if (typeof value === 'number') whole(`mixer[${i}].${name}`, value, name === 'dConv' ? 0 : 1);
    }
    if ('nHeads' in mixer) {
      whole(`mixer[${i}].nHeads`, mixer.nHeads);
      if (mixer.headDim === undefined && dModel % mixer.nHeads !== 0)
        fail(`mixer[${i}].nHeads`, `a divisor of dModel = ${dModel}, or headDim given`, mixer.nHeads);
    }
    if (mixer.type === 'mamba2' && ((mixer.expand ?? 2) * dModel) % (mixer.headDim ?? 64) !== 0)
      fail(
        `mixer[${i}].headDim`,
        `a divisor of dInner = ${(mixer.expand ?? 2) * dModel}`,
        mixer.headDim ?? 64,
      );
  });
  const mlps = each('mlp', config.mlp ?? 'none').map((mlp, i) => {
    const resolved = typed<MlpConfig>(mlp, 'none');
    const { type } = resolved;
    if (!mlpTypes.includes(type)) fail(`mlp[${i}].type`, `one of ${mlpTypes.join(', ')}`, type);
    if (type === 'none' && mixers[i].type === 'none')
      fail(`mlp[${i}].type`, 'other than none where there is no mixer', type);
    return resolved;
  });
  const norm = typed<{ type: NormType }>(config.norm, 'rms').type;
  const position = typed<PositionConfig>(config.position as PositionConfig, 'none');
  const fused =
    (config.naming ?? 'gpt2') === 'gpt2' &&
    mixers.every(({ type }) => type === 'softmax-attention') &&
    position.type === 'learned' &&
    norm === 'layer' &&
    mlps.every(({ type }) => type === 'gelu');
  return {
    vocabSize,
    dModel,
    mixers,
    mlps,
    norm,
    position,
    tieEmbeddings: config.tieEmbeddings ?? true,
    fused,
  };
}
