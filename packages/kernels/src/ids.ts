import type { Check } from './check.js';
import type { Tensor } from './tensor.js';

/**
 * Checks that all ids, or all for which `counts` says true, lie from 0 to `end` - 1.
 *
 * @throws ArgumentError naming the first that does not, and its place: `embedding: ids[0, 3] must be ...`
 */
export function checkIds(
  check: Check,
  name: string,
  ids: Tensor,
  end: number,
  wanted: string,
  counts: (index: number, id: number) => boolean = () => true,
): void {
  const { data } = ids;
  for (let i = 0; i < data.length; i++) {
    const id = data[i];
    if ((id < 0 || id >= end) && counts(i, id)) check.argument(`${name}[${place(ids.shape, i)}]`, wanted, id);
  }
}

/** The index along each axis of the i-th element. */
function place(shape: readonly number[], i: number): string {
  const index: number[] = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index.unshift(i % shape[axis]);
    i = Math.floor(i / shape[axis]);
  }
  return index.join(', ');
}
