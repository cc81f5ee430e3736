import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import { MOVE_NS, runElements } from './slices.js';
import type { Tensor } from './tensor.js';

/**
 * Cuts the last axis into parts.
 *
 * @param x      `[..., width]`
 * @param sizes  widths of the parts, from 1 up; they add up to `width`
 * @returns one tensor a part, `[..., size]`, copies
 * @throws ShapeError if `x` has no axis or the sizes do not add up, ArgumentError if a size is no whole number from 1 up
 */
export function split(
  k: Context,
  { x, sizes }: { x: Tensor; sizes: readonly number[] },
): Tensor<'float32'>[] {
  const check = new Check('split', k);
  if (check.rank('x', x) === 0) check.shape('x', '[..., width]', x);
  if (sizes === undefined) check.argument('sizes', 'an array of widths', sizes);
  sizes.forEach((size, i) => check.integer(`sizes[${i}]`, size, 1));
  const width = x.shape.at(-1)!;
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total !== width) check.shape('x', `[..., ${total}], the sum of sizes`, x);
  const rows = x.size / width;
  let column = 0;
  return sizes.map((size) => {
    const part = k.empty([...x.shape.slice(0, -1), size]);
    copyColumns(k, part.pointer, x.pointer + column * 4, rows, size, size, width);
    column += size;
    return part;
  });
}

/**
 * Puts tensors side by side along the last axis.
 *
 * @param parts  one or more, `[..., size]`, alike but for the last axis
 * @returns `[..., width]`, `width` the sum of the sizes
 * @throws ShapeError if the parts do not fit, ArgumentError if there is none
 */
export function concat(k: Context, { parts }: { parts: readonly Tensor[] }): Tensor<'float32'> {
  const check = new Check('concat', k);
  if (parts === undefined) check.argument('parts', 'an array of tensors', parts);
  if (parts.length === 0) check.argument('parts', 'one tensor or more', parts.length);
  parts.forEach((part, i) => {
    if (check.rank(`parts[${i}]`, part) === 0) check.shape(`parts[${i}]`, '[..., size]', part);
    check.float32(`parts[${i}]`, part, [...parts[0].shape.slice(0, -1), `size${i}`]);
  });
  const width = parts.reduce((sum, part) => sum + part.shape.at(-1)!, 0);
  const y = k.empty([...parts[0].shape.slice(0, -1), width]);
  let column = 0;
  for (const part of parts) {
    const size = part.shape.at(-1)!;
    copyColumns(k, y.pointer + column * 4, part.pointer, part.size / size, size, width, size);
    column += size;
  }
  return y;
}

/**
 * Adds one tensor to another in place: `target += source`.
 *
 * @throws ShapeError unless both have one shape
 */
export function accumulate(k: Context, { target, source }: { target: Tensor; source: Tensor }): void {
  const check = new Check('accumulate', k);
  check.rank('target', target);
  check.float32('source', source, target.shape);
  runElements(k, 'accumulateForward', [target.pointer, source.pointer], target.size, MOVE_NS);
}

/** Copies columns of rows; the addresses are those of the first row's first column, widths in elements. */
function copyColumns(
  k: Context,
  target: number,
  source: number,
  rows: number,
  columns: number,
  targetWidth: number,
  sourceWidth: number,
): void {
  k.run('copyColumns', [target, source, rows, columns, targetWidth, sourceWidth], {
    units: rows,
    nanoseconds: rows * columns * MOVE_NS,
    slices: { countAt: 2, steps: [targetWidth * 4, sourceWidth * 4] },
  });
}

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  split: op(split, { x: 'tensor', sizes: 'list' }),
  concat: op(concat, { parts: 'list' }),
  accumulate: op(accumulate, { target: 'tensor', source: 'tensor' }),
};
