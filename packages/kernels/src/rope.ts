import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import type { Tensor } from './tensor.js';

/** Options of {@link rope}. */
export interface RopeOptions {
  /** Which two turn together: `'half'` (default, as Llama) `i` and `i + rotaryDim / 2`, `'interleaved'` `2 i` and `2 i + 1`. */
  convention?: 'half' | 'interleaved';
  base?: number;
  rotaryDim?: number;
  offset?: number;
  positions?: Tensor;
}

const NS_PER_ELEMENT = 0.5;

const conventions = ['half', 'interleaved'] as const;

/** Checks, allocates and calls: both passes have the same arguments, under other names. */
function rotate(
  k: Context,
  where: string,
  kernel: 'ropeForward' | 'ropeBackward',
  name: string,
  x: Tensor,
  { convention = 'half', base = 10000, rotaryDim, offset, positions }: RopeOptions,
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
    Number(convention === 'interleaved'),
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
  rotaryDim: 'number',
  offset: 'number',
  positions: 'tensor',
} as const;

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  rope: op(rope, { x: 'tensor', ...options }),
  ropeBackward: op(ropeBackward, { dy: 'tensor', x: 'tensor', ...options }),
};
