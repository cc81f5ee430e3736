import type { Filled } from './filled.js';
import { limits } from './limits.js';
import { fail, Part, typed } from './part.js';

/** Rules by which rotary frequencies are changed for longer contexts; the fields are those of Transformers. */
export type RopeScaling =
  | { type: 'linear' | 'dynamic' | 'yarn' | 'longrope'; factor?: number }
  | {
      type: 'llama3';
      factor: number;
      lowFreqFactor: number;
      highFreqFactor: number;
      originalMaxLength: number;
    };

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

function resolveScaling(where: string, name: string, given: unknown): RopeScaling | undefined {
  if (given === undefined) return undefined;
  const scaling = typed(where, name, given, ['linear', 'dynamic', 'yarn', 'longrope', 'llama3']);
  const llama3 = ['lowFreqFactor', 'highFreqFactor', 'originalMaxLength'] as const;
  const p = new Part(where, name, scaling, ['type', 'factor', ...(scaling.type === 'llama3' ? llama3 : [])]);
  const { type } = scaling;
  if (type !== 'llama3')
    return p.get('factor') === undefined ? { type } : { type, factor: p.positive('factor') };
  return {
    type,
    factor: p.positive('factor'),
    lowFreqFactor: p.positive('lowFreqFactor'),
    highFreqFactor: p.positive('highFreqFactor'),
    originalMaxLength: p.needed('originalMaxLength', limits.length),
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
    if (rotaryDim !== undefined && rotaryDim > headDim)
      fail(where, `${field}.rotaryDim`, `at most headDim = ${headDim} of ${name}`, rotaryDim);
  }
}
