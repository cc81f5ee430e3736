/** Multiplication by constants. */
import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import { MOVE_NS, runElements } from './slices.js';
import type { Tensor } from './tensor.js';

/** Options of {@link scale}. */
export interface ScaleOptions {
  /** One for all, or one per part of the last axis. */
  factor: number | readonly number[];
  /** Widths of the parts that have factors of their own. */
  sizes?: readonly number[];
  offset?: number;
}

/** The parts of the last axis, each with its factor. */
function partsOf(
  check: Check,
  { shape }: Tensor,
  { factor, sizes }: ScaleOptions,
): [size: number, factor: number][] {
  if (sizes === undefined) {
    if (typeof factor !== 'number') check.argument('factor', 'one number where there are no sizes', factor);
    check.number('factor', factor as number);
    return [];
  }
  sizes.forEach((size, i) => check.integer(`sizes[${i}]`, size, 1));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total !== shape.at(-1))
    check.argument('sizes', `widths that add up to ${shape.at(-1) ?? 'a last axis'}`, sizes);
  const factors = typeof factor === 'object' ? factor : [];
  if (factors.length !== sizes.length)
    check.argument('factor', `${sizes.length} numbers, one per size`, factor);
  factors.forEach((one, i) => check.number(`factor[${i}]`, one));
  return sizes.map((size, i) => [size, factors[i]]);
}

function scaled(
  k: Context,
  check: Check,
  x: Tensor,
  options: ScaleOptions,
  offset: number,
): Tensor<'float32'> {
  const parts = partsOf(check, x, options);
  check.number('offset', offset);
  const y = k.empty(x.shape);
  if (parts.length === 0) {
    runElements(k, 'scaleForward', [y.pointer, x.pointer], x.size, MOVE_NS, [
      1,
      0,
      options.factor as number,
      offset,
    ]);
    return y;
  }
  const width = x.shape.at(-1)!;
  const rows = x.size / width;
  let column = 0;
  for (const [size, factor] of parts) {
    const [target, source] = [y.pointer + column * 4, x.pointer + column * 4];
    k.run('scaleForward', [target, source, size, rows, width, factor, offset], {
      units: rows,
      nanoseconds: rows * size * MOVE_NS,
      slices: { countAt: 3, steps: [width * 4, width * 4] },
    });
    column += size;
  }
  return y;
}

/**
 * `y = factor x + offset` with constants; parts of the last axis may have factors of their own.
 *
 * @param x       any shape
 * @param factor  one number; with `sizes` a list of one per part
 * @param sizes   widths of the parts, from 1 up, which add up to the last axis
 * @param offset  added; 0 if absent
 * @returns shaped like `x`
 * @throws ShapeError, ArgumentError if a number is not finite or factors and sizes do not fit
 */
export function scale(
  k: Context,
  { x, offset = 0, ...options }: { x: Tensor } & ScaleOptions,
): Tensor<'float32'> {
  const check = new Check('scale', k);
  check.rank('x', x);
  return scaled(k, check, x, options, offset);
}

/**
 * Gradient of {@link scale}, options as there: `dx = factor dy`.
 *
 * @param dy  any shape
 */
export function scaleBackward(
  k: Context,
  { dy, factor, sizes }: { dy: Tensor; x?: Tensor } & ScaleOptions,
): { dx: Tensor<'float32'> } {
  const check = new Check('scaleBackward', k);
  check.rank('dy', dy);
  return { dx: scaled(k, check, dy, { factor, sizes }, 0) };
}

const options = { factor: 'number or list', sizes: 'list', offset: 'number' } as const;

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  scale: op(scale, { x: 'tensor', ...options }),
  scaleBackward: op(scaleBackward, { x: 'tensor', dy: 'tensor', ...options }),
};
