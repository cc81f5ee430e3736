import type { ResolvedConfig, ResolvedMixer } from '@freelunch/config';
import { layouts } from './checkpoints/architectures/index.js';
import { nameOf } from './checkpoints/layout.js';
import { deltaRule } from './mixers/delta-rule.js';
import { gatedDeltaNet } from './mixers/gated-delta-net.js';
import { linearAttention } from './mixers/linear-attention.js';
import { mamba } from './mixers/mamba.js';
import { mamba2 } from './mixers/mamba2.js';
import { mamba3 } from './mixers/mamba3.js';
import type { Mixer } from './mixers/mixer.js';
import { createMlp, type Mlp } from './mixers/mlp.js';
import { normal, ones, ParameterList, type ParameterSpec, zeros } from './mixers/parameters.js';
import { parallel } from './mixers/parallel.js';
import { afterSharedBlock, usesOf } from './mixers/shared-block.js';
import { shortConv } from './mixers/short-conv.js';
import { softmaxAttention } from './mixers/softmax-attention.js';

/** One layer: where its parameters are, and its two halves. */
export interface Block {
  /** What their paths begin with. */
  prefix: string;
  /** And those of the mixer, and of the norm before it. */
  mixerPrefix: string;
  normPrefix: string;
  mixer: Mixer | undefined;
  mlp: Mlp | undefined;
}

function createMixer(mixer: ResolvedMixer, config: ResolvedConfig, branches: number): Mixer | undefined {
  const { dModel, naming } = config;
  switch (mixer.type) {
    case 'mamba':
      return mamba(mixer, dModel, branches);
    case 'mamba2':
      return mamba2(mixer, dModel, branches);
    case 'mamba3':
      return mamba3(mixer, dModel, config.nLayers);
    case 'linear-attention':
      return linearAttention(mixer, dModel, branches);
    case 'delta-rule':
      return deltaRule(mixer, dModel, branches);
    case 'gated-delta-net':
      return gatedDeltaNet(mixer, dModel, branches);
    case 'short-conv':
      return shortConv(mixer, dModel, branches);
    case 'softmax-attention':
      return softmaxAttention(mixer, config, branches, naming === 'gpt2');
    case 'parallel':
      return parallel(
        mixer.branches.map((branch) => ({
          ...branch,
          name: branch.mixer.type,
          mixer: createMixer(branch.mixer, config, branches)!,
        })),
      );
    case 'none':
      return undefined;
  }
}

/** What a config consists of, without any weights: blocks and the list of parameters. */
export function architectureOf(config: ResolvedConfig): {
  blocks: Block[];
  specs: readonly ParameterSpec[];
} {
  const { vocabSize, dModel, mixers, mlps, norm, position, tieEmbeddings, embeddingStd, sharedBlocks } =
    config;
  const uses = sharedBlocks && usesOf(sharedBlocks);
  const layout = layouts[config.naming];
  const list = new ParameterList((path) => nameOf(layout, path));
  const declareNorm = (prefix: string) => {
    if (norm.type === 'none') return;
    list.other(`${prefix}weight`, [dModel], norm.zeroCentered ? zeros : ones);
    if (norm.type === 'layer') list.other(`${prefix}bias`, [dModel], zeros);
  };
  list.matrix('embedding.weight', [vocabSize, dModel], normal(embeddingStd));
  if (position.type === 'learned')
    list.weight('positions.weight', [position.maxLength, dModel], normal(embeddingStd));
  const branches = [...mixers, ...mlps].filter(({ type }) => type !== 'none').length;
  const blocks = mixers.map((mixerConfig, layer): Block => {
    const prefix = `layers.${layer}.`;
    const use = uses?.get(layer);
    const mixer = createMixer(mixerConfig, config, branches);
    // Published names of a layer behind a shared block are other ones.
    const own = use === undefined ? prefix : `${prefix}after_shared.`;
    const block = {
      prefix,
      normPrefix: `${own}mixer_norm.`,
      mixerPrefix: `${own}${mixerConfig.type}.`,
      mixer:
        use && mixer && sharedBlocks
          ? afterSharedBlock(mixer, use, { ...config, sharedBlocks }, branches)
          : mixer,
      mlp: createMlp(mlps[layer], dModel, branches, config.naming === 'gpt2'),
    };
    if (block.mixer !== undefined) {
      declareNorm(block.normPrefix);
      block.mixer.declare(list, block.mixerPrefix);
    }
    if (block.mlp !== undefined) {
      declareNorm(`${prefix}mlp_norm.`);
      block.mlp.declare(list, `${prefix}mlp.`);
    }
    return block;
  });
  declareNorm('final_norm.');
  if (!tieEmbeddings) list.matrix('head.weight', [vocabSize, dModel], normal(0.02));
  return { blocks, specs: list.specs };
}
