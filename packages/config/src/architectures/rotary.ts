import { flag, group, harmless, number, only, type Place, type Values, whole } from '../fields.js';
import type { PositionConfig, ResolvedPosition, RopeScaling } from '../types.js';

const rules = only(undefined, 'default', 'linear', 'dynamic', 'yarn', 'longrope', 'llama3');

const ruleFields = {
  rope_type: rules,
  type: rules, // the older name of rope_type
  rope_theta: number(),
  partial_rotary_factor: number(),
  factor: number(),
  low_freq_factor: number(),
  high_freq_factor: number(),
  original_max_position_embeddings: whole(),
  attention_factor: number(),
  beta_fast: number(),
  beta_slow: number(),
  truncate: flag(true),
  mscale: number(), // of DeepSeek's yarn
  mscale_all_dim: number(),
  // These shape longrope, which configs here name without saying more.
  short_factor: harmless,
  long_factor: harmless,
  // Positions of images: all three of a text are its own.
  mrope_section: harmless,
  mrope_interleaved: harmless,
};

/** Rotary positions: at the top level and in `rope_scaling` up to Transformers 4, in `rope_parameters` since 5. */
export const rotary = {
  rope_theta: number(), // each architecture has a default of its own
  partial_rotary_factor: number(), // 1 if absent, except in some
  max_position_embeddings: whole(), // the length from which dynamic and yarn stretch, where the rule names none
  rope_scaling: group(ruleFields),
  rope_parameters: group(ruleFields),
};

export type RotaryValues = Values<typeof rotary>;

/**
 * @param theta    base where the file has none
 * @param partial  of architectures that turn a part of each head: its width, and the part where the file names none
 */
export function position(
  f: RotaryValues,
  place: (name: keyof RotaryValues) => Place,
  theta: number,
  partial?: { headDim: number; absent: number },
): Extract<PositionConfig, { type: 'rope' }> {
  let base = f.rope_theta;
  let part = f.partial_rotary_factor;
  let scaling: RopeScaling | undefined;
  for (const name of ['rope_scaling', 'rope_parameters'] as const) {
    const inside = f[name];
    if (inside.rope_theta !== undefined && (base ?? inside.rope_theta) !== inside.rope_theta)
      place(name).bad(`without a rope_theta other than the ${base} that stands elsewhere`);
    base ??= inside.rope_theta;
    if (
      inside.partial_rotary_factor !== undefined &&
      (part ?? inside.partial_rotary_factor) !== inside.partial_rotary_factor
    )
      place(name).bad(`without a partial_rotary_factor other than the ${part} that stands elsewhere`);
    part ??= inside.partial_rotary_factor;
    const next = scalingOf(inside, place(name), f.max_position_embeddings);
    if (scaling !== undefined && next !== undefined && JSON.stringify(next) !== JSON.stringify(scaling))
      place(name).bad('what rope_scaling is, or absent');
    scaling ??= next;
  }
  if (partial === undefined && part !== undefined && part !== 1)
    place('partial_rotary_factor').unsupported('1');
  const rotaryDim = partial && Math.floor(partial.headDim * (part ?? partial.absent));
  return {
    type: 'rope',
    base: base ?? theta,
    scaling,
    rotaryDim: rotaryDim === partial?.headDim ? undefined : rotaryDim,
  };
}

function scalingOf(
  inside: RotaryValues['rope_scaling'],
  place: Place,
  maxLength: number | undefined,
): RopeScaling | undefined {
  const type = inside.rope_type ?? inside.type ?? 'default';
  if ((inside.type ?? type) !== type) place.bad('without a type other than its rope_type');
  const { factor } = inside;
  if (type === 'default') {
    if (factor !== undefined) place.unsupported('without a factor where it has no rope_type');
    return undefined;
  }
  if (type === 'longrope') return { type, factor };
  const { low_freq_factor: lowFreqFactor, high_freq_factor: highFreqFactor } = inside;
  if (type === 'llama3') {
    const originalMaxLength = inside.original_max_position_embeddings;
    if (
      factor === undefined ||
      lowFreqFactor === undefined ||
      highFreqFactor === undefined ||
      originalMaxLength === undefined
    )
      // prettier-ignore
      return place.bad('with factor, low_freq_factor, high_freq_factor and original_max_position_embeddings');
    return { type, factor, lowFreqFactor, highFreqFactor, originalMaxLength };
  }
  if (factor === undefined) return place.bad('with a factor');
  if (type === 'linear') return { type, factor };
  // Transformers goes by max_position_embeddings in dynamic, whatever the rule says.
  const originalMaxLength =
    type === 'yarn' ? (inside.original_max_position_embeddings ?? maxLength) : maxLength;
  if (originalMaxLength === undefined)
    return place.bad(`with max_position_embeddings beside it, as it is ${type}`);
  if (type === 'dynamic') return { type, factor, originalMaxLength };
  if (inside.mscale !== undefined || inside.mscale_all_dim !== undefined)
    place.unsupported('without mscale and mscale_all_dim');
  return {
    type,
    factor,
    originalMaxLength,
    betaFast: inside.beta_fast,
    betaSlow: inside.beta_slow,
    attentionFactor: inside.attention_factor,
    truncate: inside.truncate,
  };
}

/** The reverse; undefined for other positions. */
export function rotaryFile(position: ResolvedPosition, headDim: number) {
  if (position.type !== 'rope' || position.convention !== 'half') return undefined;
  const { base, rotaryDim = headDim, scaling } = position;
  if (scaling?.type === 'longrope') return undefined; // it has more fields than configs here
  return {
    rope_theta: base,
    ...(rotaryDim !== headDim && { partial_rotary_factor: rotaryDim / headDim }),
    ...(scaling?.type === 'dynamic' && { max_position_embeddings: scaling.originalMaxLength }),
    ...(scaling && { rope_scaling: scalingFile(scaling) }),
  };
}

function scalingFile(scaling: Exclude<RopeScaling, { type: 'longrope' }>) {
  const { type: rope_type, factor } = scaling;
  switch (scaling.type) {
    case 'linear':
    case 'dynamic':
      return { rope_type, factor };
    case 'yarn':
      return {
        rope_type,
        factor,
        original_max_position_embeddings: scaling.originalMaxLength,
        beta_fast: scaling.betaFast,
        beta_slow: scaling.betaSlow,
        ...(scaling.attentionFactor !== undefined && { attention_factor: scaling.attentionFactor }),
        truncate: scaling.truncate,
      };
    case 'llama3':
      return {
        rope_type,
        factor,
        low_freq_factor: scaling.lowFreqFactor,
        high_freq_factor: scaling.highFreqFactor,
        original_max_position_embeddings: scaling.originalMaxLength,
      };
  }
}
