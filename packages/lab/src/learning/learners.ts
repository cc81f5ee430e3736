/** Learners by their names, as in `mamba:16`: what they are in words, and as mixers of a model. */
import type { MixerConfig, PositionConfig } from '@freelunch/models';
import { InputError } from '../errors.js';
import { type MixerName, mixers } from '../mixers.js';

/** What the mixers of a learner take from the experiment. */
export interface LearnerSizes {
  nLayers: number;
  /** Of softmax attention, linear attention and the delta rule. */
  nHeads: number;
  /** dInner = expand * dModel, of Mamba, Mamba-2 and Mamba-3. */
  expand: number;
  dModel: number;
  /** Width of the convolutions of linear attention and of the delta rule; 0 for none. Mamba has its own. */
  dConv: number;
}

interface Kind {
  mixer: MixerName;
  /** What the number after the colon is called; absent if there is none. */
  size?: 'W' | 'N';
  /** 1 if absent. */
  least?: number;
  layer(size: number, sizes: LearnerSizes): MixerConfig;
}

const softmax = ({ nHeads }: LearnerSizes) => ({ type: 'softmax-attention', nHeads }) as const;
const mamba = (dState: number, { expand }: LearnerSizes) => ({ type: 'mamba', dState, expand }) as const;

const kinds: Readonly<Record<string, Kind>> = {
  softmax: { mixer: 'softmax-attention', layer: (_, sizes) => softmax(sizes) },
  window: {
    mixer: 'sliding-window',
    size: 'W',
    layer: (window, sizes) => ({ ...softmax(sizes), window }),
  },
  linear: {
    mixer: 'linear-attention',
    layer: (_, { nHeads, dConv }) => ({ type: 'linear-attention', nHeads, dConv }),
  },
  'gated-linear': {
    mixer: 'gated-linear-attention',
    layer: (_, { nHeads, dConv }) => ({ type: 'linear-attention', nHeads, dConv, forget: 'token' }),
  },
  delta: {
    mixer: 'delta-rule',
    layer: (_, { nHeads, dConv }) => ({ type: 'delta-rule', nHeads, dConv }),
  },
  mamba: { mixer: 'mamba', size: 'N', layer: mamba },
  mamba2: {
    mixer: 'mamba2',
    size: 'N',
    layer: (dState, { expand, dModel, nHeads }) => ({
      type: 'mamba2',
      dState,
      expand,
      headDim: (expand * dModel) / nHeads,
    }),
  },
  mamba3: {
    mixer: 'mamba3',
    size: 'N',
    least: 2, // a plane that turns
    layer: (dState, { expand, dModel, nHeads }) => ({
      type: 'mamba3',
      dState,
      expand,
      headDim: (expand * dModel) / nHeads,
    }),
  },
  // All layers but the last one: that is softmax attention.
  hybrid: { mixer: 'hybrid', size: 'N', layer: mamba },
};

const positions = { none: 'no positions', rope: 'rotary', alibi: 'ALiBi' } as const;

export const learnerNames = Object.entries(kinds).map(([name, { size }]) =>
  size ? `${name}:${size}` : name,
);

const LARGEST_SIZE = 4096;
const MOST_LAYERS = 64;

interface Learner {
  name: string;
  kind: Kind;
  size: number;
  position?: keyof typeof positions;
  layers?: number;
}

/** @throws InputError unless it is one of the names, with a size where it takes one */
function parse(learner: string): Learner {
  const [inner, layersText, ...others] = learner.split('/');
  const layers = layersText === undefined ? undefined : /^\d+$/.test(layersText) ? Number(layersText) : NaN;
  const [text, position] = inner.split('@');
  const [name, sizeText, ...more] = text.split(':');
  const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
  const size = /^\d+$/.test(sizeText ?? '') ? Number(sizeText) : NaN;
  const sized = size >= (kind?.least ?? 1) && size <= LARGEST_SIZE;
  if (
    kind === undefined ||
    more.length > 0 ||
    inner.split('@').length > 2 ||
    others.length > 0 ||
    (layers !== undefined && !(layers >= 1 && layers <= MOST_LAYERS)) ||
    (kind.size === undefined ? sizeText !== undefined : !sized) ||
    (position !== undefined && !Object.hasOwn(positions, position))
  )
    throw new InputError(
      `a learner must be one of ${learnerNames.join(', ')}, with sizes up to ${LARGEST_SIZE}, with or without @none, @rope or @alibi, then /layers up to ${MOST_LAYERS}, got '${learner}'`,
    );
  return { name, kind, size, position: position as Learner['position'], layers };
}

/** `mamba:16` as `Mamba, N = 16`, `softmax@rope/2` as `softmax attention, rotary, 2 layers`. */
export function learnerLabel(learner: string): string {
  const { kind, size, position, layers } = parse(learner);
  return [
    mixers[kind.mixer].name,
    ...(kind.size === undefined ? [] : [`${kind.size} = ${size}`]),
    ...(position === undefined ? [] : [positions[position]]),
    ...(layers === undefined ? [] : [layers === 1 ? '1 layer' : `${layers} layers`]),
  ].join(', ');
}

/**
 * The mixers of a learner, one per layer.
 *
 * @param learner  `softmax`, `window:W` (W keys in sight), `linear`, `gated-linear`, `delta`, `mamba:N`, `mamba2:N`, `mamba3:N` (N is
 *   dState, of Mamba-3 from 2), or `hybrid:N`: Mamba, in the last layer softmax attention. `@rope`, `@alibi` or `@none` may follow, then a
 *   number of layers that is not that of the sizes: `softmax@rope/2`
 * @throws InputError if it is none of these
 */
export function learnerMixers(learner: string, sizes: LearnerSizes): MixerConfig[] {
  const { name, kind, size, layers: nLayers = sizes.nLayers } = parse(learner);
  const layers = Array.from({ length: nLayers }, () => kind.layer(size, sizes));
  if (name !== 'hybrid') return layers;
  if (nLayers < 2) throw new InputError(`${learner} needs at least 2 layers, got nLayers = ${nLayers}`);
  return [...layers.slice(1), softmax(sizes)];
}

/** The positions that a learner names itself: only softmax attention reads them. */
export function ownPosition(learner: string): PositionConfig | undefined {
  const { position } = parse(learner);
  return position === undefined ? undefined : { type: position };
}

/** Whether its state does not grow with the text. */
export const constantState = (learner: string) => !['softmax', 'hybrid'].includes(parse(learner).name);

/** dState of `mamba:N`; undefined for all others. */
export function mambaState(learner: string): number | undefined {
  const { name, size } = parse(learner);
  return name === 'mamba' ? size : undefined;
}
