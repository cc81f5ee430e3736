import { UnsupportedError } from '@freelunch/errors';
import type { ResolvedConfig, ResolvedMixer, ResolvedMlp, ResolvedPosition } from './types.js';

/** The fields of a part that must be what models can compute: `[name, what it must be, what it is]`. */
type Wanted = readonly (readonly [name: string, wanted: unknown, got: unknown])[];

function ofPosition(name: string, position: ResolvedPosition | undefined): Wanted {
  const longrope = position?.type === 'rope' && position.scaling?.type === 'longrope';
  return longrope ? [[`${name}.scaling`, undefined, 'longrope']] : [];
}

function ofMixer(mixer: ResolvedMixer): Wanted {
  switch (mixer.type) {
    case 'softmax-attention':
      return ofPosition('position', mixer.position);
    case 'parallel':
      return mixer.branches.flatMap((branch) => ofMixer(branch.mixer));
    default:
      return [];
  }
}

function ofMlp(mlp: ResolvedMlp): Wanted {
  if (mlp.type === 'none') return [];
  return [['experts', 1, mlp.experts]];
}

const ofModel = ({ position, sharedBlocks }: ResolvedConfig): Wanted => [
  ...ofPosition('position', position),
  ...(sharedBlocks ? ofPosition('sharedBlocks.attention.position', sharedBlocks.attention.position) : []),
];

const text = (value: unknown): string =>
  value === undefined ? 'absent' : typeof value === 'string' ? `'${value}'` : String(value);

/** What the first field must be that is not so; undefined if all are. */
function lacking(fields: Wanted, prefix = ''): string | undefined {
  const found = fields.find(([, wanted, got]) => wanted !== got);
  if (found === undefined) return undefined;
  const [name, wanted, got] = found;
  return `${prefix}${name} must be ${text(wanted)}, got ${text(got)}`;
}

/**
 * Refuses what a config can say, and costs are known of, but the models of @freelunch/models cannot compute yet.
 *
 * @param where the function, or the file, that messages name
 * @throws UnsupportedError naming the field
 */
export function checkComputable(config: ResolvedConfig, where: string): void {
  const { mixers, mlps } = config;
  const ofLayer = (layer: number): string | undefined => {
    const found = lacking(ofMixer(mixers[layer]), 'mixer.') ?? lacking(ofMlp(mlps[layer]), 'mlp.');
    return found && `${found} in layer ${layer}`;
  };
  let found = lacking(ofModel(config));
  for (let layer = 0; found === undefined && layer < mixers.length; layer++) found = ofLayer(layer);
  if (found !== undefined)
    throw new UnsupportedError(`${where}: ${found}: models cannot compute it yet, its cost is known`);
}
