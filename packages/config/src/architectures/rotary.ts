import { group, harmless, number, only, type Place, type Values, whole } from '../fields.js';
import type { PositionConfig, ResolvedPosition, RopeScaling } from '../types.js';

const rules = only(undefined, 'default', 'linear', 'dynamic', 'yarn', 'longrope', 'llama3');

const ruleFields = {
  rope_type: rules,
  type: rules, // the older name of rope_type
  rope_theta: number(),
  partial_rotary_factor: only(1),
  factor: number(),
  low_freq_factor: number(),
  high_freq_factor: number(),
  original_max_position_embeddings: whole(),
  // These shape yarn and longrope, which configs here name without saying more.
  attention_factor: harmless,
  beta_fast: harmless,
  beta_slow: harmless,
  mscale: harmless,
  mscale_all_dim: harmless,
  truncate: harmless,
  short_factor: harmless,
  long_factor: harmless,
};

/** Rotary positions: at the top level and in `rope_scaling` up to Transformers 4, in `rope_parameters` since 5. */
export const rotary = {
  rope_theta: number(), // each architecture has a default of its own
  partial_rotary_factor: only(1),
  rope_scaling: group(ruleFields),
  rope_parameters: group(ruleFields),
};

export type RotaryValues = Values<typeof rotary>;

/** @param theta base where the file has none */
export function position(
  f: RotaryValues,
  place: (name: keyof RotaryValues) => Place,
  theta: number,
): PositionConfig {
  let base = f.rope_theta;
  let scaling: RopeScaling | undefined;
  for (const name of ['rope_scaling', 'rope_parameters'] as const) {
    const inside = f[name];
    if (inside.rope_theta !== undefined && (base ?? inside.rope_theta) !== inside.rope_theta)
      place(name).bad(`without a rope_theta other than the ${base} that stands elsewhere`);
    base ??= inside.rope_theta;
    const next = scalingOf(inside, place(name));
    if (scaling !== undefined && next !== undefined && JSON.stringify(next) !== JSON.stringify(scaling))
      place(name).bad('what rope_scaling is, or absent');
    scaling ??= next;
  }
  return { type: 'rope', base: base ?? theta, scaling };
}

function scalingOf(inside: RotaryValues['rope_scaling'], place: Place): RopeScaling | undefined {
  const type = inside.rope_type ?? inside.type ?? 'default';
  if ((inside.type ?? type) !== type) place.bad('without a type other than its rope_type');
  const { factor } = inside;
  if (type === 'default') {
    if (factor !== undefined) place.unsupported('without a factor where it has no rope_type');
    return undefined;
  }
  if (type !== 'llama3') return { type, factor };
  const { low_freq_factor, high_freq_factor, original_max_position_embeddings } = inside;
  if (
    factor === undefined ||
    low_freq_factor === undefined ||
    high_freq_factor === undefined ||
    original_max_position_embeddings === undefined
  )
    // prettier-ignore
    return place.bad('with factor, low_freq_factor, high_freq_factor and original_max_position_embeddings');
  return {
    type,
    factor,
    lowFreqFactor: low_freq_factor,
    highFreqFactor: high_freq_factor,
    originalMaxLength: original_max_position_embeddings,
  };
}

/** The reverse, for heads that turn whole; undefined for other positions. */
export function rotaryFile(position: ResolvedPosition, headDim: number) {
  if (position.type !== 'rope' || position.convention !== 'half') return undefined;
  const { base, rotaryDim = headDim, scaling } = position;
  if (rotaryDim !== headDim) return undefined;
  if (scaling === undefined) return { rope_theta: base };
  if (scaling.type === 'linear')
    return { rope_theta: base, rope_scaling: { rope_type: 'linear', factor: scaling.factor } };
  if (scaling.type !== 'llama3') return undefined; // it has more fields than configs here
  const rope_scaling = {
    rope_type: 'llama3',
    factor: scaling.factor,
    low_freq_factor: scaling.lowFreqFactor,
    high_freq_factor: scaling.highFreqFactor,
    original_max_position_embeddings: scaling.originalMaxLength,
  };
  return { rope_theta: base, rope_scaling };
}
