/** All mixers that a config can name. A new one is one file, and its name here. */
import { Part } from '../part.js';
import { deltaRule, type DeltaRuleConfig, type ResolvedDeltaRule } from './delta-rule.js';
import { gatedDeltaNet, type GatedDeltaNetConfig, type ResolvedGatedDeltaNet } from './gated-delta-net.js';
import type { Kind, Surroundings } from './kind.js';
import {
  linearAttention,
  type LinearAttentionConfig,
  type ResolvedLinearAttention,
} from './linear-attention.js';
import { mamba, type MambaConfig, type ResolvedMamba } from './mamba.js';
import { mamba2, type Mamba2Config, type ResolvedMamba2 } from './mamba2.js';
import { mamba3, type Mamba3Config, type ResolvedMamba3 } from './mamba3.js';
import { parallel, type ParallelConfig, type ResolvedParallel } from './parallel.js';
import { type ResolvedShortConv, shortConv, type ShortConvConfig } from './short-conv.js';
import {
  type ResolvedSoftmaxAttention,
  softmaxAttention,
  type SoftmaxAttentionConfig,
} from './softmax-attention.js';

/** No mixer: the block is its MLP alone, as some of Nemotron-H are (NVIDIA 2025, arXiv:2504.03624). */
export interface NoMixerConfig {
  type: 'none';
}

/** Mixers that stand alone in a layer, or beside others. */
export type SingleMixerConfig =
  | MambaConfig
  | Mamba2Config
  | Mamba3Config
  | LinearAttentionConfig
  | DeltaRuleConfig
  | GatedDeltaNetConfig
  | ShortConvConfig
  | SoftmaxAttentionConfig;

export type ResolvedSingleMixer =
  | ResolvedMamba
  | ResolvedMamba2
  | ResolvedMamba3
  | ResolvedLinearAttention
  | ResolvedDeltaRule
  | ResolvedGatedDeltaNet
  | ResolvedShortConv
  | ResolvedSoftmaxAttention;

export type MixerConfig = SingleMixerConfig | ParallelConfig<SingleMixerConfig> | NoMixerConfig;

export type ResolvedMixer = ResolvedSingleMixer | ResolvedParallel<ResolvedSingleMixer> | NoMixerConfig;

const none: Kind<NoMixerConfig, NoMixerConfig> = { options: ['type'], resolve: () => ({ type: 'none' }) };

type Kinds<T extends MixerConfig['type']> = {
  readonly [Type in T]: Kind<Extract<MixerConfig, { type: Type }>, Extract<ResolvedMixer, { type: Type }>>;
};

const single: Kinds<SingleMixerConfig['type']> = {
  mamba,
  mamba2,
  mamba3,
  'linear-attention': linearAttention,
  'delta-rule': deltaRule,
  'gated-delta-net': gatedDeltaNet,
  'short-conv': shortConv,
  'softmax-attention': softmaxAttention,
};

const singleTypes = Object.keys(single) as SingleMixerConfig['type'][];

function resolveSingle(
  where: string,
  name: string,
  mixer: SingleMixerConfig,
  around: Surroundings,
): ResolvedSingleMixer {
  const { options, resolve }: Kind<never, ResolvedSingleMixer> = single[mixer.type];
  return resolve(new Part(where, name, mixer, options), around, where, name);
}

const kinds: Kinds<MixerConfig['type']> = { ...single, parallel: parallel(singleTypes, resolveSingle), none };

export const mixerTypes = Object.keys(kinds) as MixerConfig['type'][];

/** Checks a mixer whose type is known and fills in what is absent. */
export function resolveMixer(
  where: string,
  name: string,
  mixer: MixerConfig,
  around: Surroundings,
): ResolvedMixer {
  const { options, resolve }: Kind<never, ResolvedMixer> = kinds[mixer.type];
  return resolve(new Part(where, name, mixer, options), around, where, name);
}

/** The mixers of a layer, which has one or several side by side. */
export const mixersIn = (mixer: ResolvedMixer): readonly (ResolvedSingleMixer | NoMixerConfig)[] =>
  mixer.type === 'parallel' ? mixer.branches.map((branch) => branch.mixer) : [mixer];
