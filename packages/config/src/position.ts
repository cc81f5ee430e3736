import type { Filled } from './filled.js';
import { limits } from './limits.js';
import { fail, Part, typed } from './part.js';

/**
 * Rules by which rotary frequencies are changed for longer contexts than a model was first trained on, as `k.rope` of
 * `@freelunch/kernels` computes them (but `longrope`); the fields are those of Transformers.
 */
export type RopeScaling =
  | { type: 'linear'; factor: number }
  | { type: 'dynamic'; factor: number; originalMaxLength: number }
  | {
      type: 'yarn';
      factor: number;
      originalMaxLength: number;
      /** Turns in the original length above which frequencies stay; 32 if absent. */
      betaFast?: number;
      /** Turns below which they are divided; 1 if absent. */
      betaSlow?: number;
      /** What cosines and sines are multiplied by; `1 + ln(factor) / 10` if absent. */
      attentionFactor?: number;
      /** Whether the ends of the range are rounded to whole pairs; true if absent. */
      truncate?: boolean;
    }
  | {
      type: 'llama3';
      factor: number;
      lowFreqFactor: number;
      highFreqFactor: number;
      originalMaxLength: number;
    }
  | { type: 'longrope'; factor?: number };

/** Where positions come from: only softmax attention needs them. */
export type PositionConfig =
  | { type: 'none' }
  | { type: 'learned'; maxLength: number }
  | {
      type: 'rope';
      /** 10,000 if absent. */
      base?: number;
      /** Channels of each head that turn, an even number; the whole head if absent. */
      rotaryDim?: number;
      /** Which channels turn together: `half` (as Llama) if absent. */
      convention?: 'half' | 'interleaved';
      /** None if absent. */
      scaling?: RopeScaling;
    }
  | { type: 'alibi' };

export type ResolvedPosition =
  | Exclude<PositionConfig, { type: 'rope' }>
  | Filled<Extract<PositionConfig, { type: 'rope' }>, 'rotaryDim' | 'scaling'>;

/** The options of each rule beside its type. */
const scalings = {
  linear: ['factor'],
  dynamic: ['factor', 'originalMaxLength'],
  yarn: ['factor', 'originalMaxLength', 'betaFast', 'betaSlow', 'attentionFactor', 'truncate'],
  llama3: ['factor', 'lowFreqFactor', 'highFreqFactor', 'originalMaxLength'],
  longrope: ['factor'],
} as const satisfies Record<RopeScaling['type'], readonly string[]>;

const scalingTypes = Object.keys(scalings) as RopeScaling['type'][];

function resolveScaling(where: string, name: string, given: unknown): RopeScaling | undefined {
  if (given === undefined) return undefined;
  const { type, ...options } = typed(where, name, given, scalingTypes);
  const p = new Part(where, name, options, scalings[type]);
  const optional = (key: string) => (p.get(key) === undefined ? undefined : p.positive(key));
  if (type === 'longrope') return { type, factor: optional('factor') };
  const factor = p.positive('factor');
  if (type === 'linear') return { type, factor };
  const originalMaxLength = p.needed('originalMaxLength', limits.length);
  if (type === 'dynamic') {
    if (factor < 1) p.fail('factor', 'a number from 1 up');
    return { type, factor, originalMaxLength };
  }
  const above = (high: string, highValue: number, low: string, lowValue: number) => {
    if (highValue <= lowValue) p.fail(high, `above ${low} = ${lowValue}`, highValue);
  };
  if (type === 'llama3') {
    const [lowFreqFactor, highFreqFactor] = [p.positive('lowFreqFactor'), p.positive('highFreqFactor')];
    above('highFreqFactor', highFreqFactor, 'lowFreqFactor', lowFreqFactor);
    return { type, factor, lowFreqFactor, highFreqFactor, originalMaxLength };
  }
  const [betaFast, betaSlow] = [p.positive('betaFast', 32), p.positive('betaSlow', 1)];
  above('betaFast', betaFast, 'betaSlow', betaSlow);
  const attentionFactor = optional('attentionFactor');
  return {
    type,
    factor,
    originalMaxLength,
    betaFast,
    betaSlow,
    attentionFactor,
    truncate: p.flag('truncate', true),
  };
}

/** @param name of the part, for messages */
export function resolvePosition(where: string, name: string, value: unknown): ResolvedPosition {
  const position = typed(where, name, value, ['none', 'learned', 'rope', 'alibi'] as const);
  const { type } = position;
  const rope = ['base', 'rotaryDim', 'convention', 'scaling'];
  const options = type === 'rope' ? rope : type === 'learned' ? ['maxLength'] : [];
  const p = new Part(where, name, position, ['type', ...options]);
  if (type === 'learned') return { type, maxLength: p.needed('maxLength', limits.length) };
  if (type !== 'rope') return { type };
  const base = p.get('base') === undefined ? 10000 : p.get('base');
  if (!(typeof base === 'number' && base >= 1 && base < Infinity))
    p.fail('base', 'a finite number from 1 up');
  const rotaryDim = p.whole('rotaryDim', undefined, 2);
  if (rotaryDim !== undefined && rotaryDim % 2 !== 0) p.fail('rotaryDim', 'even');
  const convention = p.oneOf('convention', 'half', 'interleaved');
  return {
    type,
    base: base as number,
    rotaryDim,
    convention,
    scaling: resolveScaling(where, `${name}.scaling`, p.get('scaling')),
  };
}

/** Rotary positions turn pairs of channels: heads must have room for them. */
export function checkRotary(
  where: string,
  position: ResolvedPosition,
  named: readonly { name: string; mixer: { type: string; headDim?: number; position?: ResolvedPosition } }[],
): void {
  for (const { name, mixer } of named) {
    const { type, headDim } = mixer;
    if (type !== 'softmax-attention' || headDim === undefined) continue;
    const at = mixer.position ?? position;
    if (at.type !== 'rope') continue;
    const field = mixer.position === undefined ? 'position' : `${name}.position`;
    const { rotaryDim } = at;
    if (rotaryDim === undefined && headDim % 2 !== 0)
      fail(where, `${name}.headDim`, `even for rotary positions, or ${field}.rotaryDim given`, headDim);
    if (at.scaling?.type === 'dynamic' && (rotaryDim ?? headDim) === 2)
      fail(where, `${field}.scaling.type`, 'another where heads turn by one pair of channels', 'dynamic');
    if (rotaryDim !== undefined && rotaryDim > headDim)
      fail(where, `${field}.rotaryDim`, `at most headDim = ${headDim} of ${name}`, rotaryDim);
  }
}
