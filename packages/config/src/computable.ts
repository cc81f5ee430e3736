import { UnsupportedError } from '@freelunch/errors';
import type { ResolvedConfig, ResolvedMixer, ResolvedMlp, ResolvedPosition } from './types.js';

/** The fields of a part that must be what models can compute: `[name, what it must be, what it is]`. */
type Wanted = readonly (readonly [name: string, wanted: unknown, got: unknown])[];

function ofPosition(name: string, position: ResolvedPosition | undefined): Wanted {
  return position?.type === 'rope' ? [[`${name}.scaling`, undefined, position.scaling?.type]] : [];
}

function ofMixer(mixer: ResolvedMixer): Wanted {
  switch (mixer.type) {
    case 'mamba2':
      return [['multipliers', undefined, mixer.multipliers]];
    case 'softmax-attention':
      return [
        ['qkNorm', false, mixer.qkNorm],
        ['outputGate', false, mixer.outputGate],
        ['keyMultiplier', 1, mixer.keyMultiplier],
        ...ofPosition('position', mixer.position),
      ];
    default:
      return [];
  }
}

function ofMlp(mlp: ResolvedMlp): Wanted {
  if (mlp.type === 'none') return [];
  return [
    ['experts', 1, mlp.experts],
    ...(mlp.type === 'swiglu'
      ? ([
          ['gateMultiplier', 1, mlp.gateMultiplier],
          ['outMultiplier', 1, mlp.outMultiplier],
        ] as const)
      : []),
  ];
}

const ofModel = (config: ResolvedConfig): Wanted => [
  ['norm.zeroCentered', false, config.norm.zeroCentered],
  ['embeddingMultiplier', 1, config.embeddingMultiplier],
  ['residualMultiplier', 1, config.residualMultiplier],
  ['logitsMultiplier', 1, config.logitsMultiplier],
  ...ofPosition('position', config.position),
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
