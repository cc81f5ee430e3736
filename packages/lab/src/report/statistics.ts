/** Means with an interval that never leaves the range of what it is about, and what they decide. */
import type { Verdict } from '../experiments/experiment.js';

/** Mean, least and greatest of some values, one for each seed. */
export interface Spread {
  mean: number;
  least: number;
  greatest: number;
}

export function spread(values: readonly number[]): Spread {
  return { mean: meanOf(values), least: Math.min(...values), greatest: Math.max(...values) };
}

export const meanOf = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Mean, and the standard error of it: 0 for one sample. */
export function statistics(samples: readonly number[]): { mean: number; standardError: number } {
  const mean = meanOf(samples);
  if (samples.length === 1) return { mean, standardError: 0 };
  const squares = samples.reduce((sum, sample) => sum + (sample - mean) ** 2, 0);
  return { mean, standardError: Math.sqrt(squares / (samples.length - 1) / samples.length) };
}

/** 97.5 % quantile of the normal distribution. */
const NORMAL = 1.959963984540054;

/**
 * The 95 % interval of a share, after Wilson (1927): within 0 and 1, and of some width also where all or none are right.
 *
 * @param share  from 0 to 1
 * @param of     how many were counted, from 1 up
 */
export function wilson(share: number, of: number): readonly [low: number, high: number] {
  const z2 = NORMAL ** 2 / of;
  const middle = (share + z2 / 2) / (1 + z2);
  const half = (NORMAL / (1 + z2)) * Math.sqrt((share * (1 - share)) / of + z2 / (4 * of));
  // Never beyond the share itself, which rounding could do where all or none are right.
  return [Math.max(0, Math.min(share, middle - half)), Math.min(1, Math.max(share, middle + half))];
}

/**
 * Which is larger, 1 for `a` and -1 for `b`, if every seed of the one is above every seed of the other; else 0. Chance alone
 * puts three above three in 1 of 20 cases, five above five in 1 of 252.
 */
export const orderOf = (a: Spread, b: Spread): 1 | 0 | -1 =>
  a.least > b.greatest ? 1 : b.least > a.greatest ? -1 : 0;

/** True if theory's order is seen in every case, false if the other is in every one, else partly: few seeds leave much open. */
export const agreementOfOrders = (orders: readonly (1 | 0 | -1)[]): Verdict['agrees'] =>
  orders.length === 0 || new Set(orders).size > 1 || orders[0] === 0 ? 'partly' : orders[0] === 1;

/** Whether all, some or none of the cases are as theory says. */
export const agreementOf = (yes: number, of: number): Verdict['agrees'] =>
  yes === of ? true : yes === 0 ? false : 'partly';
