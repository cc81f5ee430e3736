import type { Tensor } from './tensor.js';

/** Addresses of tensors, 0 for those that are absent: as many as are given, so that a call's arguments are counted. */
export function pointers<const Tensors extends readonly (Tensor | undefined)[]>(
  ...tensors: Tensors
): { -readonly [Place in keyof Tensors]: number } {
  return tensors.map((tensor) => tensor?.pointer ?? 0) as { -readonly [Place in keyof Tensors]: number };
}
