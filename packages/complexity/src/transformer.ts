/** The Transformer that a model is compared with: as many parameters, and all else as alike as it can be. */
import {
  type MixerConfig,
  type ModelConfig,
  resolveConfig,
  type ResolvedConfig,
  type ResolvedMixer,
} from '@freelunch/config';
import { ArgumentError } from '@freelunch/errors';
import { cost } from './cost.js';

/** Heads of models that have none: 64 channels, as in GPT-2 and small Llamas. */
const HEAD_DIM = 64;
/** And of these so many share keys and values, as in Llama 3. */
const GROUP = 4;
/** MLPs are as wide as it takes, to a multiple of this. */
const MULTIPLE = 8;

/** Pairs of a mixer and an MLP: two layers that have only one of them count as one, and a block that is used again as often. */
function depthOf({ mixers, mlps, sharedBlocks }: ResolvedConfig): number {
  const parts =
    mixers.filter(({ type }) => type !== 'none').length + mlps.filter(({ type }) => type !== 'none').length;
  return Math.max(1, Math.round(parts / 2) + (sharedBlocks?.layers.length ?? 0));
}

/** All mixers of a model, those side by side in a layer and in blocks that layers share too. */
function allMixers({ mixers, sharedBlocks }: ResolvedConfig): readonly ResolvedMixer[] {
  const inLayers = mixers.flatMap((mixer) =>
    mixer.type === 'parallel' ? mixer.branches.map((branch) => branch.mixer) : [mixer],
  );
  return sharedBlocks === undefined ? inLayers : [...inLayers, sharedBlocks.attention];
}

function attentionOf(model: ResolvedConfig): MixerConfig {
  const { dModel } = model;
  const own = allMixers(model).find((mixer) => mixer.type === 'softmax-attention');
  if (own !== undefined) {
    const { type, nHeads, nKvHeads, headDim, valueDim } = own;
    return { type, nHeads, nKvHeads, headDim, valueDim };
  }
  const nHeads = Math.max(1, Math.floor(dModel / HEAD_DIM));
  const nKvHeads = nHeads % GROUP === 0 ? nHeads / GROUP : nHeads;
  return { type: 'softmax-attention', nHeads, nKvHeads, headDim: HEAD_DIM };
}

/** The experts of each layer's MLP, undefined if there are none: a mixture is compared with a mixture. */
function mixturesOf(
  { mlps }: ResolvedConfig,
  nLayers: number,
): { experts: number; active: number }[] | undefined {
  const mixtures = mlps.map((mlp) =>
    mlp.type === 'none' ? { experts: 1, active: 1 } : { experts: mlp.experts, active: mlp.active },
  );
  if (mixtures.every(({ experts }) => experts === 1)) return undefined;
  if (mlps.length === nLayers) return mixtures;
  throw new ArgumentError(
    `transformerLike: config must have a mixer and an MLP in each layer if there are experts, got ${nLayers} pairs in ${mlps.length} layers`,
  );
}

/**
 * A Transformer of a model's size: the same vocabulary, width and tied or separate head; one layer for each pair of a
 * mixer and an MLP that the model has; in each, softmax attention with rotary positions, with the heads of the model's own
 * attention, or without any, heads of 64 channels of which four share keys and values; and a SwiGLU MLP whose width makes
 * the parameters equal, to a multiple of 8. Where the model has experts, so has the Transformer, as many in the same
 * layers.
 *
 * @throws ArgumentError if attention alone has more parameters than the model
 */
export function transformerLike(config: ModelConfig): ModelConfig {
  const model = resolveConfig(config, 'transformerLike');
  const { vocabSize, dModel, tieEmbeddings } = model;
  const paramsOf = (one: ModelConfig) => cost(one, { mode: 'decode', promptLength: 1 }).params;
  const nLayers = depthOf(model);
  const mixtures = mixturesOf(model, nLayers);
  const withWidth = (dHidden: number): ModelConfig => ({
    vocabSize,
    dModel,
    nLayers,
    mixer: attentionOf(model),
    mlp: mixtures?.map((mixture) => ({ type: 'swiglu', dHidden, ...mixture })) ?? { type: 'swiglu', dHidden },
    position: 'rope',
    tieEmbeddings,
  });
  const wanted = paramsOf(config);
  const least = paramsOf(withWidth(MULTIPLE));
  const perStep = paramsOf(withWidth(2 * MULTIPLE)) - least;
  const steps = 1 + Math.round((wanted - least) / perStep);
  if (steps < 1)
    throw new ArgumentError(
      `transformerLike: config must have at least the ${least} parameters of softmax attention in each layer, got ${wanted}`,
    );
  return withWidth(steps * MULTIPLE);
}
