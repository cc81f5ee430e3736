import { limits } from './limits.js';
import { mixersIn, mixerTypes, resolveMixer } from './mixers/index.js';
import { checkLayers, resolveMlp } from './mlp.js';
import { resolveNaming } from './naming.js';
import { fail, Part, typed } from './part.js';
import { checkRotary, resolvePosition } from './position.js';
import { resolveSharedBlocks } from './shared-blocks.js';
import type { MixerConfig, ModelConfig, ResolvedConfig, ResolvedMixer } from './types.js';

/** The names of a model's options. */
export const modelOptions: readonly (keyof ModelConfig)[] = [
  'vocabSize', 'dModel', 'nLayers', 'mixer', 'mlp', 'norm', 'position', 'sharedBlocks', 'tieEmbeddings', 'embeddingMultiplier',
  'residualMultiplier', 'logitsMultiplier', 'naming', 'embeddingStd', 'seed',
]; // prettier-ignore

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

function resolveNorm(where: string, value: unknown): ResolvedConfig['norm'] {
  const norm = typed(where, 'norm', value === undefined ? 'rms' : value, ['rms', 'layer', 'none'] as const);
  const { type } = norm;
  const p = new Part(where, 'norm', norm, ['type', 'eps', 'zeroCentered']);
  const zeroCentered = p.flag('zeroCentered', false);
  if (zeroCentered && type !== 'rms') p.fail('zeroCentered', "false or absent where the type is not 'rms'");
  return { type, eps: p.eps('eps', 1e-5), zeroCentered };
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
  const given = mixerConfigs.map(({ mixer }) => mixer);
  checkLayers(where, p.get('mlp'), given, mlps);
  const norm = resolveNorm(where, p.get('norm'));
  const position = resolvePosition(
    where,
    'position',
    p.get('position') === undefined ? 'none' : p.get('position'),
  );
  const naming = resolveNaming(where, p.get('naming'), { mixers: given, mlps, norm, position });

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
    mixers.flatMap((mixer, layer) =>
      mixersIn(mixer).map((one) => ({ name: mixerConfigs[layer].name, mixer: one })),
    ),
  );
  const sharedBlocks = resolveSharedBlocks(where, p.get('sharedBlocks'), { dModel, eps: norm.eps, mixers });
  if (sharedBlocks)
    checkRotary(where, position, [{ name: 'sharedBlocks.attention', mixer: sharedBlocks.attention }]);
  return {
    vocabSize,
    dModel,
    nLayers,
    mixers,
    mlps,
    norm,
    position,
    ...(sharedBlocks && { sharedBlocks }),
    tieEmbeddings: p.flag('tieEmbeddings', true),
    embeddingMultiplier: p.finite('embeddingMultiplier', 1),
    residualMultiplier: p.finite('residualMultiplier', 1),
    logitsMultiplier: p.finite('logitsMultiplier', 1),
    naming,
    embeddingStd: p.positive('embeddingStd', 0.02),
    seed: p.whole('seed', 0, 0, Number.MAX_SAFE_INTEGER),
  };
}
