import type { RopeScaling } from '../types.js';

/** Those of Llama 3, which converters divide frequencies by; its files do not hold them. */
const LOW = 1;
const HIGH = 4;
const lengths = Array.from({ length: 18 }, (_, i) => 2 ** (5 + i));

/** What factors are rounded by as they become float32, and a little more. */
const TOLERANCE = 1e-5;

/**
 * The rule by which a converter came to `rope_freqs.weight`, factors that rotary frequencies are divided by.
 *
 * @param factors one per pair of channels
 * @returns undefined if they change nothing, null if they come from no rule that is known here
 */
export function ropeScalingOf(factors: ArrayLike<number>, base: number): RopeScaling | undefined | null {
  const given = Array.from(factors);
  const alike = (a: number, b: number) => Math.abs(a - b) <= TOLERANCE * Math.abs(b);
  const factor = Math.max(...given);
  if (!given.every((one) => one > 0 && one < Infinity)) return null;
  if (given.every((one) => alike(one, 1))) return undefined;
  if (given.every((one) => alike(one, factor))) return { type: 'linear', factor };
  const dim = 2 * given.length;
  const factorOf = (i: number, length: number): number => {
    const turns = (length * base ** ((-2 * i) / dim)) / (2 * Math.PI);
    const kept = Math.min(Math.max((turns - LOW) / (HIGH - LOW), 0), 1);
    return 1 / (kept + (1 - kept) / factor);
  };
  const length = lengths.find((one) => given.every((value, i) => alike(value, factorOf(i, one))));
  if (length === undefined) return null;
  return { type: 'llama3', factor, lowFreqFactor: LOW, highFreqFactor: HIGH, originalMaxLength: length };
}
