import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import type { Tensor } from './tensor.js';

/**
 * How frequencies are changed for contexts longer than a model was trained on: divided by `factor` where they turn too
 * seldom in `originalMaxLength` positions, the length of its training.
 *
 * - `linear`: all are divided.
 * - `llama3`: kept if they turn more than `highFreqFactor` times, divided if less than `lowFreqFactor` times, and in
 *   between by turns (Dubey et al. 2024, arXiv:2407.21783).
 * - `yarn`: the same between `betaFast` (32 if absent) and `betaSlow` turns (1), from pair to pair, the ends rounded to whole
 *   pairs unless `truncate` is false; cosines and sines are multiplied by `attentionFactor`, `1 + ln(factor) / 10` if absent
 *   (Peng et al. 2023, arXiv:2309.00071).
 * - `dynamic`: up to originalMaxLength none; a position p beyond has those of a context of p + 1, whose base is
 *   `base (factor (p + 1) / originalMaxLength - factor + 1)^(rotaryDim / (rotaryDim - 2))`.
 */
export type RopeScaling =
  | { type: 'linear'; factor: number }
  | { type: 'dynamic'; factor: number; originalMaxLength: number }
  | {
      type: 'llama3';
      factor: number;
      lowFreqFactor: number;
      highFreqFactor: number;
      originalMaxLength: number;
    }
  | {
      type: 'yarn';
      factor: number;
      originalMaxLength: number;
      betaFast?: number;
      betaSlow?: number;
      attentionFactor?: number;
      truncate?: boolean;
    };

/** Options of {@link rope}. */
export interface RopeOptions {
  /** Which two turn together: `'half'` (default, as Llama) `i` and `i + rotaryDim / 2`, `'interleaved'` `2 i` and `2 i + 1`. */
  convention?: 'half' | 'interleaved';
  base?: number;
  scaling?: RopeScaling;
  rotaryDim?: number;
  offset?: number;
  positions?: Tensor;
}

const NS_PER_ELEMENT = 0.5;

const conventions = ['half', 'interleaved'] as const;

const rules = ['linear', 'llama3', 'yarn', 'dynamic'] as const;

/** What each takes beside its factor. */
const optionsOf: Readonly<Record<RopeScaling['type'], readonly string[]>> = {
  linear: [],
  llama3: ['originalMaxLength', 'lowFreqFactor', 'highFreqFactor'],
  yarn: ['originalMaxLength', 'betaFast', 'betaSlow', 'attentionFactor', 'truncate'],
  dynamic: ['originalMaxLength'],
};

/** @returns the kernel's arguments from `rule` to `amplitude`; 0 of an amplitude leaves it to the kernel */
function checkScaling(check: Check, scaling: RopeScaling | undefined, rotaryDim: number): number[] {
  if (scaling === undefined) return [0, 1, 1, 0, 1, 0, 1];
  const { type, factor } = scaling;
  check.oneOf('scaling.type', type, rules);
  check.number('scaling.factor', factor, Number.MIN_VALUE);
  for (const [name, value] of Object.entries(scaling)) {
    if (value === undefined || ['type', 'factor', ...optionsOf[type]].includes(name)) continue;
    check.argument(`scaling.${name}`, `absent for ${type} scaling`, value);
  }
  const rule = rules.indexOf(type) + 1;
  if (type === 'linear') return [rule, factor, 1, 0, 1, 0, 1];
  const { originalMaxLength } = scaling;
  check.integer('scaling.originalMaxLength', originalMaxLength, 1);
  if (type === 'dynamic') {
    check.number('scaling.factor', factor, 1);
    if (rotaryDim === 2) check.argument('rotaryDim', 'above 2 for dynamic scaling', rotaryDim);
    return [rule, factor, originalMaxLength, 0, 1, 0, 1];
  }
  const [lowName, highName, low, high] =
    type === 'llama3'
      ? (['lowFreqFactor', 'highFreqFactor', scaling.lowFreqFactor, scaling.highFreqFactor] as const)
      : (['betaSlow', 'betaFast', scaling.betaSlow ?? 1, scaling.betaFast ?? 32] as const);
  check.number(`scaling.${lowName}`, low, Number.MIN_VALUE);
  check.number(`scaling.${highName}`, high, low);
  if (high === low) check.argument(`scaling.${highName}`, `above ${lowName} = ${low}`, high);
  if (type === 'llama3') return [rule, factor, originalMaxLength, low, high, 0, 1];
  const { attentionFactor, truncate = true } = scaling;
  if (attentionFactor !== undefined)
    check.number('scaling.attentionFactor', attentionFactor, Number.MIN_VALUE);
  return [rule, factor, originalMaxLength, low, high, Number(truncate), attentionFactor ?? 0];
}

/** Checks, allocates and calls: both passes have the same arguments, under other names. */
function rotate(
  k: Context,
  where: string,
  kernel: 'ropeForward' | 'ropeBackward',
  name: string,
  x: Tensor,
  { convention = 'half', base = 10000, scaling, rotaryDim, offset, positions }: RopeOptions,
): Tensor<'float32'> {
  const check = new Check(where, k);
  check.float32(name, x, ['batch', 'seqLen', 'nHeads', 'headDim']);
  const { batch, seqLen, nHeads, headDim } = check.sizes;
  check.oneOf('convention', convention, conventions);
  check.number('base', base, 1);
  const rotated = rotaryDim ?? headDim;
  if (!Number.isInteger(rotated) || rotated < 2 || rotated > headDim || rotated % 2 !== 0) {
    check.argument('rotaryDim', `an even number from 2 to headDim = ${headDim}`, rotated);
  }
  if (positions !== undefined) {
    check.int32('positions', positions, ['seqLen']);
    if (offset !== undefined) check.argument('offset', 'absent where positions are given', offset);
  }
  const start = offset ?? 0;
  check.integer('offset', start, 0);
  const y = k.empty(x.shape);
  // prettier-ignore
  const args = [
    y.pointer, x.pointer, positions?.pointer ?? 0, batch, seqLen, nHeads, headDim, rotated, start, base,
    Number(convention === 'interleaved'), ...checkScaling(check, scaling, rotated),
  ];
  const sequence = seqLen * nHeads * headDim * 4;
  k.run(kernel, args, {
    units: batch,
    nanoseconds: x.size * NS_PER_ELEMENT,
    scratchBytes: k.wasm[`${kernel}ScratchBytes`](rotated),
    slices: { countAt: 3, steps: [sequence, sequence] },
  });
  return y;
}

/**
 * Rotary position embedding: pair `i` of each head is turned by the angle `position base^(-2 i / rotaryDim)`,
 * `(y0, y1) = (x0 cos - x1 sin, x1 cos + x0 sin)`.
 *
 * @param x           `[batch, seqLen, nHeads, headDim]`
 * @param convention  `'half'` (default): pairs `(i, i + rotaryDim / 2)`; `'interleaved'`: pairs `(2 i, 2 i + 1)`
 * @param base        theta, from 1 up; 10000 if absent
 * @param scaling     see {@link RopeScaling}; none if absent
 * @param rotaryDim   even; the rest of a head is copied; `headDim` if absent
 * @param offset      position of the first row, from 0 up; 0 if absent
 * @param positions   int32 `[seqLen]`, instead of `offset`
 * @returns shaped like `x`
 * @throws ShapeError, ArgumentError if an option is out of its range, or both `offset` and `positions` are given
 * @see Su et al. 2021, https://arxiv.org/abs/2104.09864
 */
export function rope(k: Context, { x, ...options }: { x: Tensor } & RopeOptions): Tensor<'float32'> {
  return rotate(k, 'rope', 'ropeForward', 'x', x, options);
}

/**
 * Gradient of {@link rope}: the rotation back. Options as there; `x` is not needed.
 *
 * @param dy  gradient of the output, `[batch, seqLen, nHeads, headDim]`
 * @returns `dx`, shaped like `dy`
 */
export function ropeBackward(
  k: Context,
  { dy, ...options }: { dy: Tensor; x?: Tensor } & RopeOptions,
): { dx: Tensor<'float32'> } {
  return { dx: rotate(k, 'ropeBackward', 'ropeBackward', 'dy', dy, options) };
}

const options = {
  convention: 'text',
  base: 'number',
  scaling: {
    type: 'text',
    factor: 'number',
    originalMaxLength: 'number',
    lowFreqFactor: 'number',
    highFreqFactor: 'number',
    betaFast: 'number',
    betaSlow: 'number',
    attentionFactor: 'number',
    truncate: 'flag',
  },
  rotaryDim: 'number',
  offset: 'number',
  positions: 'tensor',
} as const;

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  rope: op(rope, { x: 'tensor', ...options }),
  ropeBackward: op(ropeBackward, { dy: 'tensor', x: 'tensor', ...options }),
};
