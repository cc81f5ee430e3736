/** The models of `freelunch measure`: those that a machine is fitted to, and those whose crossovers are looked for. */
import type { MixerConfig, MlpConfig, ModelConfig } from '@freelunch/complexity';
import type { NamedConfig } from '../files/model-config.js';

const sized = (dModel: number, mixer: ModelConfig['mixer'], dHidden?: number): ModelConfig => {
  const mlp: MlpConfig | undefined = dHidden === undefined ? undefined : { type: 'gelu', dHidden };
  return { vocabSize: 256, dModel, nLayers: 2, mixer, ...(mlp && { mlp }) };
};

const mixersOf = ({ mixer }: ModelConfig): readonly MixerConfig[] =>
  Array.isArray(mixer) ? (mixer as readonly MixerConfig[]) : [mixer as MixerConfig];

/** Lengths that calibration models are timed at; those that are compared are between them. */
const CALIBRATION_LENGTHS = [12, 24, 48, 80, 160, 320, 640, 1280];
/** Widths, heads and states of calibration models: none is that of a model below. */
const CALIBRATION_SIZES = [
  { dModel: 64, nHeads: 4, dState: 16 },
  { dModel: 96, nHeads: 3, dState: 16 },
  { dModel: 160, nHeads: 5, dState: 32 },
  { dModel: 256, nHeads: 4, dState: 16 },
];

export interface Calibration {
  models: NamedConfig[];
  lengths: number[];
}

/**
 * Small models with one mixer each: of all mixers that these models have, and attention with an MLP for the products.
 * None is one of these models, no length one of these lengths or longer than the longest.
 */
export function calibrationFor(models: readonly NamedConfig[], lengths: readonly number[]): Calibration {
  const used = new Set(models.flatMap(({ config }) => mixersOf(config).map(({ type }) => type)));
  const known = new Set(models.map(({ config }) => JSON.stringify(config)));
  const kinds = CALIBRATION_SIZES.flatMap(({ dModel, nHeads, dState }): NamedConfig[] => {
    const heads = { type: 'softmax-attention', nHeads } as const;
    const linear = { type: 'linear-attention', nHeads } as const;
    const windowed = { ...heads, window: 64 };
    const mamba2 = { type: 'mamba2', dState: 2 * dState, headDim: 32 } as const;
    return [
      { name: `softmax-${dModel}`, config: sized(dModel, heads) },
      { name: `softmax+mlp-${dModel}`, config: sized(dModel, heads, 2 * dModel) },
      { name: `window+mlp-${dModel}`, config: sized(dModel, windowed, dModel) },
      { name: `mamba-${dModel}`, config: sized(dModel, { type: 'mamba', dState }) },
      { name: `mamba2-${dModel}`, config: sized(dModel, mamba2) },
      { name: `linear+mlp-${dModel}`, config: sized(dModel, linear, dModel) },
      { name: `delta+mlp-${dModel}`, config: sized(dModel, { type: 'delta-rule', nHeads }, dModel) },
    ];
  });
  const longest = Math.max(...lengths);
  return {
    models: kinds.filter(({ config }) => {
      const [{ type }] = mixersOf(config);
      return (type === 'softmax-attention' || used.has(type)) && !known.has(JSON.stringify(config));
    }),
    lengths: CALIBRATION_LENGTHS.filter((length) => length <= longest && !lengths.includes(length)),
  };
}

/** Which models are compared: positions in the list. */
export type Pair = readonly [first: number, second: number];

/** Softmax attention against all else, at two widths, without an MLP and with one that evens out the parameters. */
export function defaultModels(): { models: NamedConfig[]; pairs: Pair[] } {
  const models: NamedConfig[] = [];
  const pairs: Pair[] = [];
  for (const dModel of [128, 192]) {
    const heads = { type: 'softmax-attention', nHeads: dModel / 32 } as const;
    const mamba = { type: 'mamba' } as const;
    const dHidden = 1.5 * dModel;
    const add = (name: string, config: ModelConfig) => models.push({ name: `${name}-${dModel}`, config }) - 1;
    const bare = add('softmax', sized(dModel, heads));
    const full = add('softmax+mlp', sized(dModel, heads, dHidden));
    const both = [
      add('mamba', sized(dModel, mamba)),
      add('mamba2', sized(dModel, { type: 'mamba2', dState: 32, headDim: 32 })),
      add('linear+mlp', sized(dModel, { type: 'linear-attention', nHeads: heads.nHeads }, dHidden)),
      add('window+mlp', sized(dModel, { ...heads, window: 128 }, dHidden)),
    ];
    const hybrid = add('hybrid', sized(dModel, [mamba, heads]));
    const hybridFull = add('hybrid+mlp', sized(dModel, [mamba, heads], dHidden));
    pairs.push(...[...both, hybrid].map((other): Pair => [bare, other]));
    pairs.push(...[...both, hybridFull].map((other): Pair => [full, other]));
  }
  return { models, pairs };
}
