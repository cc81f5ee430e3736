/** What experiments on COPY measure alike. */
import type { Kernels, Tensor } from '@freelunch/kernels';

/** The largest length, and the largest state, that they run. */
export const LARGEST_SIZE = 4096;

/** The share of tokens that came back right. */
export function fractionRight(symbols: Int32Array, tokens: Int32Array): number {
  let right = 0;
  for (let t = 0; t < tokens.length; t++) if (symbols[t] === tokens[t]) right++;
  return right / tokens.length;
}

/** The greatest |k_i . k_j| over i != j. */
export function coherence(k: Kernels, keys: Tensor<'float32'>): number {
  const count = keys.shape[0];
  const { data } = k.matmul({ a: keys, b: keys, transposeB: true });
  let greatest = 0;
  for (let i = 0; i < count; i++)
    for (let j = 0; j < i; j++) greatest = Math.max(greatest, Math.abs(data[i * count + j]));
  return greatest;
}

/** Six decimals: all that means anything, and the same in engines whose exp and log differ in the last bit. */
export const round = (value: number): number => Math.round(value * 1e6) / 1e6;
