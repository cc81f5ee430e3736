/** The one table of mixers: what reports call them, and how plots draw them. */
import type { CopyMixer } from '@freelunch/constructions';
import { look, type Look } from './report/look.js';

export interface MixerNames {
  /** As in the middle of a sentence. */
  name: string;
  /** For narrow columns. */
  short: string;
  look: Look;
}

const inOrder = {
  'softmax-attention': ['softmax attention', 'softmax'],
  'sliding-window': ['sliding-window attention', 'window'],
  'linear-attention': ['linear attention', 'linear'],
  mamba: ['Mamba', 'Mamba'],
  mamba2: ['Mamba-2', 'Mamba-2'],
  'gated-linear-attention': ['gated linear attention', 'gated linear'],
  'delta-rule': ['delta rule', 'delta'],
  hybrid: ['hybrid', 'hybrid'],
  mamba3: ['Mamba-3', 'Mamba-3'],
} as const;

export type MixerName = keyof typeof inOrder;

export const mixers = Object.fromEntries(
  Object.entries(inOrder).map(([key, [name, short]], i) => [key, { name, short, look: look(i) }]),
) as Readonly<Record<MixerName, MixerNames>>;

/** One of the ways to store tokens and to read them back that `@freelunch/constructions` has. */
export interface CopyWay {
  mixer: CopyMixer;
  /** As the theory numbers it. */
  construction: string;
  of: MixerName;
  /** How a token is found again. */
  keys: string;
  /** Mixer and keys, as in the middle of a sentence. */
  label: string;
}

const way = (mixer: CopyMixer, construction: string, of: MixerName, keys: string): CopyWay => ({
  mixer,
  construction,
  of,
  keys,
  label: `${mixers[of].name}, ${keys}`,
});

/** In the order of reports. */
export const copyWays: readonly CopyWay[] = [
  way('linearAttention', 'C1', 'linear-attention', 'random keys'),
  way('selectiveScan', 'C1', 'mamba', 'random keys'),
  way('addressed', 'C2a', 'mamba', 'addresses'),
  way('registerFile', 'C2b', 'mamba', 'registers'),
  way('softmaxAttention', 'C4', 'softmax-attention', 'position bits'),
];

export const copyWay = (mixer: CopyMixer): CopyWay => copyWays.find((one) => one.mixer === mixer)!;

/** At the start of a sentence or of a row. */
export const capitalised = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
