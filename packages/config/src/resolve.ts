import { limits } from './limits.js';
import { mixerTypes, resolveMixer } from './mixers.js';
import { eitherOf, fail, Part } from './part.js';
import type {
  MixerConfig,
  ModelConfig,
  Naming,
  NormConfig,
  ResolvedConfig,
  ResolvedMixer,
  ResolvedMlp,
  ResolvedPosition,
  RopeScaling,
} from './types.js';

type Typed<T extends string> = { type: T };

/** The names of a model's options. */
export const modelOptions: readonly (keyof ModelConfig)[] = ['vocabSize', 'dModel', 'nLayers', 'mixer', 'mlp', 'norm', 'position', 'tieEmbeddings', 'naming', 'embeddingStd', 'seed']; // prettier-ignore

/** A part that may be given by its type alone. @returns an object whose type is one of `types` */
function typed<T extends string>(where: string, name: string, value: unknown, types: readonly T[]): Typed<T> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const { type } = value as { type?: unknown };
    if (!types.includes(type as T)) fail(where, `${name}.type`, eitherOf(types), type);
    return { ...value, type: type as T };
  }
  if (!types.includes(value as T)) fail(where, name, eitherOf(types), value);
  return { type: value as T };
}

/** One of each per layer; what is said once for all layers is resolved once. */
function perLayer<T>(
  where: string,
  name: string,
  value: unknown,
  nLayers: number,
  resolve: (name: string, value: unknown) => T,
): readonly T[] {
  if (!Array.isArray(value)) return Array<T>(nLayers).fill(resolve(name, value));
  if (value.length !== nLayers) fail(where, name, `one, or ${nLayers} as there are layers`, value.length);
  return Array.from(value, (item, layer) => resolve(`${name}[${layer}]`, item));
}

function resolveMlp(where: string, name: string, value: unknown, dModel: number): ResolvedMlp {
  const mlp = typed(where, name, value === undefined ? 'none' : value, [
    'none',
    'relu',
    'gelu',
    'swiglu',
  ] as const);
  const { type } = mlp;
  const options = ['dHidden', 'bias', 'experts', 'active', ...(type === 'gelu' ? ['approximate'] : [])];
  const p = new Part(where, name, mlp, ['type', ...(type === 'none' ? [] : options)]);
  if (type === 'none') return { type };
  const gated = type === 'swiglu';
  const experts = p.whole('experts', 1);
  const layers = {
    dHidden: p.whole('dHidden', gated ? Math.ceil((8 * dModel) / 3 / 8) * 8 : 4 * dModel),
    bias: p.flag('bias', !gated),
    experts,
    active: p.whole('active', experts, 1, experts),
  };
  return type === 'gelu'
    ? { type, ...layers, approximate: p.oneOf('approximate', 'tanh', 'none') }
    : { type, ...layers };
}

function resolveScaling(where: string, given: unknown): RopeScaling | undefined {
  if (given === undefined) return undefined;
  const scaling = typed(where, 'position.scaling', given, [
    'linear',
    'dynamic',
    'yarn',
    'longrope',
    'llama3',
  ]);
  const llama3 = ['lowFreqFactor', 'highFreqFactor', 'originalMaxLength'] as const;
  const p = new Part(where, 'position.scaling', scaling, [
    'type',
    'factor',
    ...(scaling.type === 'llama3' ? llama3 : []),
  ]);
  const { type } = scaling;
  if (type !== 'llama3')
    return p.get('factor') === undefined ? { type } : { type, factor: p.positive('factor') };
  return {
    type,
    factor: p.positive('factor'),
    lowFreqFactor: p.positive('lowFreqFactor'),
    highFreqFactor: p.positive('highFreqFactor'),
    originalMaxLength: p.needed('originalMaxLength', limits.length),
  };
}

function resolvePosition(where: string, value: unknown): ResolvedPosition {
  const position = typed(where, 'position', value, ['none', 'learned', 'rope', 'alibi'] as const);
  const { type } = position;
  const rope = ['base', 'rotaryDim', 'convention', 'scaling'];
  const options = type === 'rope' ? rope : type === 'learned' ? ['maxLength'] : [];
  const p = new Part(where, 'position', position, ['type', ...options]);
  if (type === 'learned') return { type, maxLength: p.needed('maxLength', limits.length) };
  if (type !== 'rope') return { type };
  const base = p.get('base') === undefined ? 10000 : p.get('base');
  if (!(typeof base === 'number' && base >= 1 && base < Infinity))
    p.fail('base', 'a finite number from 1 up');
  const rotaryDim = p.whole('rotaryDim', undefined, 2);
  if (rotaryDim !== undefined && rotaryDim % 2 !== 0) p.fail('rotaryDim', 'even');
  const convention = p.oneOf('convention', 'half', 'interleaved');
  return {
    type,
    base: base as number,
    rotaryDim,
    convention,
    scaling: resolveScaling(where, p.get('scaling')),
  };
}

/** Rotary positions turn pairs of channels: heads must have room for them. */
function checkRotary(
  where: string,
  position: ResolvedPosition,
  named: readonly { name: string; mixer: ResolvedMixer }[],
): void {
  if (position.type !== 'rope') return;
  for (const { name, mixer } of named) {
    if (mixer.type !== 'softmax-attention') continue;
    const { rotaryDim } = position;
    if (rotaryDim === undefined && mixer.headDim % 2 !== 0)
      fail(where, `${name}.headDim`, 'even for rotary positions, or position.rotaryDim given', mixer.headDim);
    if (rotaryDim !== undefined && rotaryDim > mixer.headDim)
      fail(where, 'position.rotaryDim', `at most headDim = ${mixer.headDim} of ${name}`, rotaryDim);
  }
}

function resolveNaming(
  where: string,
  given: unknown,
  mixers: readonly { type: string }[],
  mlps: readonly ResolvedMlp[],
  norm: NormConfig,
  position: ResolvedPosition,
): Naming {
  const softmaxOnly = mixers.every(({ type }) => type === 'softmax-attention');
  const mlpOnly = (wanted: ResolvedMlp['type']) => mlps.every(({ type }) => type === wanted);
  const gpt2 = softmaxOnly && position.type === 'learned' && norm.type === 'layer' && mlpOnly('gelu');
  const llama = softmaxOnly && norm.type === 'rms' && mlpOnly('swiglu') && position.type !== 'learned';
  const naming = given === undefined ? (gpt2 ? 'gpt2' : llama ? 'llama' : 'mamba') : given;
  if (naming !== 'mamba' && naming !== 'gpt2' && naming !== 'llama')
    fail(where, 'naming', "'mamba', 'gpt2' or 'llama'", naming);
  if (naming === 'gpt2' && !gpt2)
    fail(where, 'naming', "'mamba': only softmax attention with learned positions, layer norm and gelu is named as GPT-2", naming); // prettier-ignore
  if (naming === 'llama' && !llama)
    fail(
      where,
      'naming',
      "'mamba': only softmax attention with rms norm and swiglu is named as Llama",
      naming,
    );
  return naming;
}

/**
 * Checks a config and fills in what is absent: no other place has a default.
 *
 * @param where the function that messages name
 * @throws ArgumentError naming the field, what it must be and what it is; or an option that there is none of
 */
export function resolveConfig(config: ModelConfig, where = 'createModel'): ResolvedConfig {
  if (typeof config !== 'object' || config === null) fail(where, 'config', 'an object', config);
  const p = new Part(where, '', config, modelOptions);
  const vocabSize = p.needed('vocabSize');
  const dModel = p.needed('dModel');
  const nLayers = p.needed('nLayers', limits.nLayers);

  const mixerConfigs = perLayer(where, 'mixer', p.get('mixer'), nLayers, (name, value) => {
    if (typeof value !== 'object' || value === null) fail(where, name, 'an object with a type', value);
    return { name, mixer: typed(where, name, value, mixerTypes) as MixerConfig };
  });
  const mlps = perLayer(where, 'mlp', p.get('mlp'), nLayers, (name, value) =>
    resolveMlp(where, name, value, dModel),
  );
  mlps.forEach(({ type }, layer) => {
    if (type !== 'none' || mixerConfigs[layer].mixer.type !== 'none') return;
    const name = Array.isArray(p.get('mlp')) ? `mlp[${layer}]` : 'mlp';
    fail(where, name, `other than 'none' in layer ${layer}, which has no mixer`, type);
  });
  const normGiven = typed(where, 'norm', p.get('norm') === undefined ? 'rms' : p.get('norm'), [
    'rms',
    'layer',
    'none',
  ] as const);
  const norm = {
    type: normGiven.type,
    eps: new Part(where, 'norm', normGiven, ['type', 'eps']).eps('eps', 1e-5),
  };
  const position = resolvePosition(where, p.get('position') === undefined ? 'none' : p.get('position'));
  const naming = resolveNaming(where, p.get('naming'), mixerConfigs.map(({ mixer }) => mixer), mlps, norm, position); // prettier-ignore

  const around = { dModel, eps: norm.eps, gpt2: naming === 'gpt2' };
  const resolved = new Map<object, ResolvedMixer>();
  const mixers = mixerConfigs.map((one) => {
    const mixer = resolved.get(one) ?? resolveMixer(where, one.name, one.mixer, around);
    resolved.set(one, mixer);
    return mixer;
  });
  checkRotary(
    where,
    position,
    mixers.map((mixer, layer) => ({ name: mixerConfigs[layer].name, mixer })),
  );
  return {
    vocabSize,
    dModel,
    nLayers,
    mixers,
    mlps,
    norm,
    position,
    tieEmbeddings: p.flag('tieEmbeddings', true),
    naming,
    embeddingStd: p.positive('embeddingStd', 0.02),
    seed: p.whole('seed', 0, 0, Number.MAX_SAFE_INTEGER),
  };
}
