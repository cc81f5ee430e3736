/** A model's config in a few lines. */
import type { ResolvedConfig, ResolvedMixer, ResolvedMlp } from '@freelunch/config';
import { grouped } from '../report/format.js';

function mlpText(mlp: ResolvedMlp): string {
  if (mlp.type === 'none') return '';
  const experts = mlp.experts > 1 ? ` (${mlp.active} of ${mlp.experts} experts)` : '';
  return mlp.type + experts;
}

/** How many there are of each text, in the order in which they come first. */
function counted(texts: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return Array.from(counts, ([text, count]) => `${count} x ${text}`).join(' + ');
}

/** As layers are named: those side by side with an ampersand between them. */
const mixerText = (mixer: ResolvedMixer): string =>
  mixer.type === 'parallel' ? mixer.branches.map((branch) => branch.mixer.type).join(' & ') : mixer.type;

/** Blocks of attention and an MLP that several layers share. */
const sharedText = ({ sharedBlocks }: ResolvedConfig): string =>
  sharedBlocks === undefined ? '' : ` + ${sharedBlocks.layers.length} x shared softmax-attention`;

/** `24 x mamba2 + 4 x softmax-attention, each with swiglu`. */
export function layersText(config: ResolvedConfig): string {
  const { mixers, mlps } = config;
  const all = mlps.map(mlpText);
  const isSame = all.every((text) => text === all[0]) && mixers.every(({ type }) => type !== 'none');
  if (isSame) {
    const text = counted(mixers.map(mixerText));
    return `${text}${all[0] === '' ? '' : `, each with ${all[0]}`}${sharedText(config)}`;
  }
  const layers = mixers.map((mixer, i) => {
    if (mixer.type === 'none') return `${all[i]} alone`;
    return `${mixerText(mixer)}${all[i] === '' ? '' : ` with ${all[i]}`}`;
  });
  return counted(layers) + sharedText(config);
}

/** The mixers alone: `36 x mamba2 + 4 x softmax-attention`. */
export const mixersText = (config: ResolvedConfig): string =>
  counted(config.mixers.map((mixer) => (mixer.type === 'none' ? 'MLP alone' : mixerText(mixer)))) +
  sharedText(config);

/** Whether a field leaves out what it names: no convolution, one expert, a multiplier of 1. */
const isNeutral = (name: string, value: unknown): boolean =>
  value === undefined ||
  value === false ||
  value === 'none' ||
  (name === 'dConv' && value === 0) ||
  (value === 1 && (name === 'experts' || name === 'active' || name.endsWith('Multiplier')));

/** What numbers and names a part has, apart from its type. */
const fieldsText = (part: object): string =>
  Object.entries(part as Record<string, unknown>)
    .filter(([name, value]) => name !== 'type' && !isNeutral(name, value))
    .filter(([name]) => name !== 'innerNormEps' || !('innerNorms' in part) || part.innerNorms !== 'none')
    .map(([name, value]) => (value === true ? name : `${name} ${valueText(value)}`))
    .join(', ');

function valueText(value: unknown): string {
  if (typeof value === 'number')
    return Number.isInteger(value) && value >= 10000 ? grouped(value) : String(value);
  if (Array.isArray(value)) return `[${value.map(valueText).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    const { type } = value as { type?: unknown };
    const fields = fieldsText(value);
    return typeof type === 'string' ? `${type}${fields === '' ? '' : ` (${fields})`}` : `(${fields})`;
  }
  return String(value);
}

const unique = <T extends ResolvedMixer | ResolvedMlp>(parts: readonly T[]): T[] => [
  ...new Map(parts.map((part) => [JSON.stringify(part), part])).values(),
];

/** Rows of names and what they stand for. */
export function configRows(config: ResolvedConfig): [string, string][] {
  const parts = [...unique(config.mixers), ...unique(config.mlps)].filter(({ type }) => type !== 'none');
  return [
    ['layers', layersText(config)],
    ['width', grouped(config.dModel)],
    [
      'vocabulary',
      `${grouped(config.vocabSize)}, ${config.tieEmbeddings ? 'head tied to the embedding' : 'separate head'}`,
    ],
    ...parts.map((part): [string, string] => [part.type, fieldsText(part)]),
    ...(config.sharedBlocks === undefined
      ? []
      : [['shared blocks', fieldsText(config.sharedBlocks)] as [string, string]]),
    ['norm', valueText(config.norm)],
    ['positions', valueText(config.position)],
  ];
}
