import { fail, Part, typed } from './part.js';

/**
 * `relu` (Vaswani et al. 2017), `relu2`, its square (So et al. 2021), and `gelu`: two layers; `swiglu`: a gated pair and
 * one (Shazeer 2020).
 */
export interface MlpConfig {
  type: 'relu' | 'relu2' | 'gelu' | 'swiglu' | 'none';
  /** Hidden width; 4 dModel for relu, relu2 and gelu, 8/3 dModel rounded up to a multiple of 8 for swiglu, if absent. */
  dHidden?: number;
  /** Bias of each layer; if absent true for relu, relu2 and gelu, false for swiglu. */
  bias?: boolean;
  /** Form of gelu: `tanh` (as GPT-2) if absent, or `none` for the exact one. */
  approximate?: 'tanh' | 'none';
  /** Of swiglu: what the gate is multiplied by before silu; 1 if absent. */
  gateMultiplier?: number;
  /** Of swiglu: what the output is multiplied by; 1 if absent. */
  outMultiplier?: number;
  /** A mixture of this many experts, each of this shape; 1, no mixture, if absent. */
  experts?: number;
  /** Experts that a token goes to; all if absent. */
  active?: number;
}

interface Layers {
  dHidden: number;
  bias: boolean;
  experts: number;
  active: number;
}

export type ResolvedMlp =
  | { type: 'none' }
  | ({ type: 'relu' | 'relu2' } & Layers)
  | ({ type: 'swiglu'; gateMultiplier: number; outMultiplier: number } & Layers)
  | ({ type: 'gelu'; approximate: 'tanh' | 'none' } & Layers);

/** The options that a type has beside those of all. */
const more: Readonly<Record<Exclude<MlpConfig['type'], 'none'>, readonly (keyof MlpConfig)[]>> = {
  relu: [],
  relu2: [],
  gelu: ['approximate'],
  swiglu: ['gateMultiplier', 'outMultiplier'],
};

export function resolveMlp(where: string, name: string, value: unknown, dModel: number): ResolvedMlp {
  const mlp = typed(where, name, value === undefined ? 'none' : value, [
    'none',
    'relu',
    'relu2',
    'gelu',
    'swiglu',
  ] as const);
  const { type } = mlp;
  const options = type === 'none' ? [] : ['dHidden', 'bias', 'experts', 'active', ...more[type]];
  const p = new Part(where, name, mlp, ['type', ...options]);
  if (type === 'none') return { type };
  const gated = type === 'swiglu';
  const experts = p.whole('experts', 1);
  const layers = {
    dHidden: p.whole('dHidden', gated ? Math.ceil((8 * dModel) / 3 / 8) * 8 : 4 * dModel),
    bias: p.flag('bias', !gated),
    experts,
    active: p.whole('active', experts, 1, experts),
  };
  if (type === 'gelu') return { type, ...layers, approximate: p.oneOf('approximate', 'tanh', 'none') };
  if (type !== 'swiglu') return { type, ...layers };
  return {
    type,
    ...layers,
    gateMultiplier: p.finite('gateMultiplier', 1),
    outMultiplier: p.finite('outMultiplier', 1),
  };
}

/** @throws ArgumentError for a layer that has neither a mixer nor an MLP */
export function checkLayers(
  where: string,
  given: unknown,
  mixers: readonly { type: string }[],
  mlps: readonly ResolvedMlp[],
): void {
  mlps.forEach(({ type }, layer) => {
    if (type !== 'none' || mixers[layer].type !== 'none') return;
    const name = Array.isArray(given) ? `mlp[${layer}]` : 'mlp';
    fail(where, name, `other than 'none' in layer ${layer}, which has no mixer`, type);
  });
}
