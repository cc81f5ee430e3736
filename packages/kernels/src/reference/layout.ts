/**
 * Parts of rows, and sums in place.
 *
 *   split   x [..., width] to one [..., size] per size; the sizes add up to width
 *   concat  parts [..., size] to [..., width]
 *   accumulate  target, source  any shape, both alike
 */
import type { Array64 } from './array64.js';

/** Parts of the last axis, `sizes` wide. */
export function split({ x, sizes }: { x: Array64; sizes: readonly number[] }): Array64[] {
  const width = x.shape.at(-1)!;
  return sizes.map((size, part) => {
    const first = sizes.slice(0, part).reduce((a, b) => a + b, 0);
    const data = Float64Array.from(x.data).filter((_, i) => i % width >= first && i % width < first + size);
    return { shape: [...x.shape.slice(0, -1), size], data };
  });
}

/** Parts side by side along the last axis. */
export function concat({ parts }: { parts: readonly Array64[] }): Array64 {
  const widths = parts.map((part) => part.shape.at(-1)!);
  const rows = parts[0].data.length / widths[0];
  const data: number[] = [];
  for (let r = 0; r < rows; r++) {
    parts.forEach((part, i) => data.push(...part.data.subarray(r * widths[i], (r + 1) * widths[i])));
  }
  const width = widths.reduce((a, b) => a + b, 0);
  return { shape: [...parts[0].shape.slice(0, -1), width], data: Float64Array.from(data) };
}

/** `target += source` */
export function accumulate({ target, source }: { target: Array64; source: Array64 }): { target: Array64 } {
  return { target: { shape: target.shape, data: target.data.map((value, i) => value + source.data[i]) } };
}
