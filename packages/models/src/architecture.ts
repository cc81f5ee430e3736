import type { ResolvedConfig, ResolvedMixer } from '@freelunch/config';
import { type Names, namesOf } from './checkpoints/names.js';
import { deltaRule } from './mixers/delta-rule.js';
import { linearAttention } from './mixers/linear-attention.js';
import { mamba } from './mixers/mamba.js';
import { mamba2 } from './mixers/mamba2.js';
import type { Mixer } from './mixers/mixer.js';
import { createMlp, type Mlp } from './mixers/mlp.js';
import { normal, ones, ParameterList, type ParameterSpec, zeros } from './mixers/parameters.js';
import { softmaxAttention } from './mixers/softmax-attention.js';

/** One layer: where its parameters are, and its two halves. */
export interface Block {
  prefix: string;
  mixer: Mixer | undefined;
  mlp: Mlp | undefined;
}

function createMixer(mixer: ResolvedMixer, config: ResolvedConfig, branches: number): Mixer | undefined {
  const { dModel, position, norm, naming } = config;
  switch (mixer.type) {
    case 'mamba':
      return mamba(mixer, dModel, branches);
    case 'mamba2':
      return mamba2(mixer, dModel, branches, norm.eps);
    case 'linear-attention':
      return linearAttention(mixer, dModel, branches);
    case 'delta-rule':
      return deltaRule(mixer, dModel, branches);
    case 'softmax-attention':
      return softmaxAttention(mixer, dModel, branches, position, naming === 'gpt2');
    case 'none':
      return undefined;
  }
}

/** What a config consists of, without any weights: blocks and the list of parameters. */
export function architectureOf(config: ResolvedConfig): {
  names: Names;
  blocks: Block[];
  specs: readonly ParameterSpec[];
} {
  const { vocabSize, dModel, mixers, mlps, norm, position, tieEmbeddings, embeddingStd } = config;
  const names = namesOf(config);
  const list = new ParameterList();
  const declareNorm = (prefix: string) => {
    if (norm.type === 'none') return;
    list.other(`${prefix}weight`, [dModel], ones);
    if (norm.type === 'layer') list.other(`${prefix}bias`, [dModel], zeros);
  };
  list.matrix(names.embedding, [vocabSize, dModel], normal(embeddingStd));
  if (position.type === 'learned')
    list.weight(names.positions, [position.maxLength, dModel], normal(embeddingStd));
  const branches = [...mixers, ...mlps].filter(({ type }) => type !== 'none').length;
  const blocks = mixers.map((mixerConfig, layer): Block => {
    const prefix = names.block(layer);
    const block = {
      prefix,
      mixer: createMixer(mixerConfig, config, branches),
      mlp: createMlp(mlps[layer], dModel, branches, config.naming === 'gpt2'),
    };
    if (block.mixer !== undefined) {
      declareNorm(prefix + names.mixerNorm);
      block.mixer.declare(list, prefix + names.mixer);
    }
    if (block.mlp !== undefined) {
      declareNorm(prefix + names.mlpNorm);
      block.mlp.declare(list, `${prefix}mlp.`);
    }
    return block;
  });
  declareNorm(names.finalNorm);
  if (!tieEmbeddings) list.matrix(names.head, [vocabSize, dModel], normal(0.02));
  return { names, blocks, specs: list.specs };
}
