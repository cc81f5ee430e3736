/** All mixers that a config can name. A new one is one file, and its name here. */
import { Part } from '../part.js';
import { deltaRule, type DeltaRuleConfig, type ResolvedDeltaRule } from './delta-rule.js';
import type { Kind, Surroundings } from './kind.js';
import {
  linearAttention,
  type LinearAttentionConfig,
  type ResolvedLinearAttention,
} from './linear-attention.js';
import { mamba, type MambaConfig, type ResolvedMamba } from './mamba.js';
import { mamba2, type Mamba2Config, type ResolvedMamba2 } from './mamba2.js';
import {
  type ResolvedSoftmaxAttention,
  softmaxAttention,
  type SoftmaxAttentionConfig,
} from './softmax-attention.js';

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

export type ResolvedMixer =
  | ResolvedMamba
  | ResolvedMamba2
  | ResolvedLinearAttention
  | ResolvedDeltaRule
  | ResolvedSoftmaxAttention
  | NoMixerConfig;

const none: Kind<NoMixerConfig, NoMixerConfig> = { options: ['type'], resolve: () => ({ type: 'none' }) };

type Type = MixerConfig['type'];
type Kinds = { readonly [T in Type]: Kind<Extract<MixerConfig, { type: T }>, ResolvedMixer> };

const kinds: Kinds = {
  mamba,
  mamba2,
  'linear-attention': linearAttention,
  'delta-rule': deltaRule,
  'softmax-attention': softmaxAttention,
  none,
};

export const mixerTypes = Object.keys(kinds) as Type[];

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
