import type { Array64 } from './array64.js';

/** `y = x / (1 + e^-x)` */
export function silu({ x }: { x: Array64 }): Array64 {
  return { shape: x.shape, data: x.data.map((value) => value / (1 + Math.exp(-value))) };
}
