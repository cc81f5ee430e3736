import type { Context } from './context.js';
import type { KernelName } from './threads/pool.js';

/** Nanoseconds per element of what only reads, adds or multiplies and writes; and of what takes an exponential. */
export const MOVE_NS = 0.3;
export const EXP_NS = 2;

/** Elements in a cache line: two threads that write into the same one slow each other down. */
const LINE = 16;

/**
 * Runs a kernel on arrays of the same size, element by element: `kernel(...addresses, size, ...rest)`.
 *
 * @param addresses  0 for what is absent
 */
export function runElements(
  k: Context,
  name: KernelName,
  addresses: readonly number[],
  size: number,
  nsPerElement: number,
  rest: readonly number[] = [],
): void {
  k.run(name, [...addresses, size, ...rest], {
    units: size,
    align: LINE,
    nanoseconds: size * nsPerElement,
    slices: { countAt: addresses.length, steps: addresses.map((address) => (address === 0 ? 0 : 4)) },
  });
}
