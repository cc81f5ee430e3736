import { limits } from './limits.js';
import {
  type ResolvedSoftmaxAttention,
  softmaxAttention,
  type SoftmaxAttentionConfig,
} from './mixers/softmax-attention.js';
import { fail, Part } from './part.js';

/**
 * Transformer blocks that several layers share (Zamba2, Zyphra 2024, arXiv:2411.15242). In front of such a layer's mixer a
 * block reads the residual stream beside the token's embedding, and what it gives, through a projection of the layer, is
 * added to the mixer's input.
 */
export interface SharedBlocksConfig {
  /** Numbers of the layers that have one in front, rising. */
  layers: readonly number[];
  /** Different blocks, which these layers use in turn; 1 if absent. */
  count?: number;
  /** Their attention, whose input is twice as wide as the model: `headDim` is 2 dModel / nHeads if absent. */
  attention: SoftmaxAttentionConfig;
  /** Hidden width of their MLP, a pair gated by gelu with erf. */
  dHidden: number;
  /** Bias of the MLP; false if absent. */
  bias?: boolean;
  /** Rank of what each use adds to the first weights of the MLP. */
  adapterRank: number;
  /** Whether each use adds as much to the projections to queries, keys and values; false if absent. */
  attentionAdapters?: boolean;
}

export type ResolvedSharedBlocks = Required<Omit<SharedBlocksConfig, 'attention'>> & {
  attention: ResolvedSoftmaxAttention;
};

const options: readonly (keyof SharedBlocksConfig)[] = [
  'layers', 'count', 'attention', 'dHidden', 'bias', 'adapterRank', 'attentionAdapters',
]; // prettier-ignore

export function resolveSharedBlocks(
  where: string,
  given: unknown,
  { dModel, eps, mixers }: { dModel: number; eps: number; mixers: readonly { type: string }[] },
): ResolvedSharedBlocks | undefined {
  if (given === undefined) return undefined;
  const name = 'sharedBlocks';
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    fail(where, name, 'an object', given);
  const p = new Part(where, name, given, options);
  const layers: unknown = p.get('layers');
  if (
    !Array.isArray(layers) ||
    layers.length === 0 ||
    !layers.every(
      (layer, i) =>
        Number.isSafeInteger(layer) &&
        layer >= 0 &&
        layer < mixers.length &&
        (i === 0 || layer > layers[i - 1]),
    )
  )
    return p.fail('layers', `rising numbers of layers, each below ${mixers.length}`);
  const numbers = Array.from(layers as number[]);
  const unfit = numbers.find((layer) => !['mamba', 'mamba2'].includes(mixers[layer].type));
  if (unfit !== undefined)
    p.fail(
      'layers',
      'those of layers with mixer mamba or mamba2',
      `${unfit}, which has ${mixers[unfit].type}`,
    );
  const attention = p.get('attention');
  if (typeof attention !== 'object' || attention === null) p.fail('attention', 'an object with nHeads');
  const at = `${name}.attention`;
  const part = new Part(
    where,
    at,
    { type: 'softmax-attention', ...(attention as object) },
    softmaxAttention.options,
  );
  return {
    layers: numbers,
    count: p.whole('count', 1, 1, numbers.length),
    attention: softmaxAttention.resolve(part, { dModel: 2 * dModel, eps, gpt2: false }, where, at),
    dHidden: p.needed('dHidden'),
    bias: p.flag('bias', false),
    adapterRank: p.needed('adapterRank', limits.size),
    attentionAdapters: p.flag('attentionAdapters', false),
  };
}
