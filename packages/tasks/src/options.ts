import { checkOptions } from '@freelunch/errors';
import { refuse, show, TaskError } from './errors.js';
import type { Random } from '@freelunch/random';

/**
 * How large a sample is: one size, all sizes from the first to the second equally often, or sizes with whole-number
 * weights.
 */
export type Size =
  | number
  | readonly [number, number]
  | { readonly sizes: readonly number[]; readonly weights: readonly number[] };

/**
 * The given options over the defaults. @throws TaskError if a name is not an option
 */
export function takeOptions<T extends object>(where: string, given: Partial<T> | undefined, defaults: T): T {
  if (given === undefined) return { ...defaults };
  checkOptions(where, given, Object.keys(defaults), TaskError);
  const options = { ...defaults };
  for (const name of Object.keys(given) as (keyof T)[]) {
    const value = given[name];
    if (value !== undefined) options[name] = value as T[keyof T];
  }
  return options;
}

/** @throws TaskError unless `value` is a whole number in [min, max] */
export function checkInteger(
  where: string,
  name: string,
  value: unknown,
  min: number,
  max = 2 ** 31 - 1,
): void {
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
    const wanted =
      max < min
        ? `at least ${min}, which its other options rule out`
        : `a whole number from ${min} to ${max}`;
    refuse(where, name, wanted, value);
  }
}

/** @throws TaskError unless `value` is a number in [min, max] */
export function checkNumber(where: string, name: string, value: unknown, min: number, max: number): void {
  if (typeof value !== 'number' || !(value >= min && value <= max)) {
    refuse(where, name, `a number from ${min} to ${max}`, value);
  }
}

/** @throws TaskError unless `value` is true or false */
export function checkBoolean(where: string, name: string, value: unknown): void {
  if (typeof value !== 'boolean') refuse(where, name, 'true or false', value);
}

/** @throws TaskError unless `value` is one of `choices` */
export function checkChoice(where: string, name: string, value: unknown, choices: readonly unknown[]): void {
  if (!choices.includes(value)) refuse(where, name, `one of ${choices.map(show).join(', ')}`, value);
}

/** The largest size that a task takes if it sets no limit of its own: a sample must fit into memory. */
const LARGEST_SIZE = 2 ** 24;

/** @throws TaskError unless all sizes are whole numbers in [min, max] */
export function checkSize(where: string, name: string, size: unknown, min: number, max = LARGEST_SIZE): void {
  if (Array.isArray(size)) {
    if (size.length !== 2 || size[0] > size[1]) refuse(where, name, 'a size or [smallest, largest]', size);
    checkInteger(where, name, size[0], min, max);
    checkInteger(where, name, size[1], min, max);
  } else if (typeof size === 'object' && size !== null) {
    const { sizes, weights } = size as { sizes: unknown; weights: unknown };
    if (
      !Array.isArray(sizes) ||
      !Array.isArray(weights) ||
      sizes.length !== weights.length ||
      sizes.length === 0
    ) {
      refuse(where, name, 'as many sizes as weights, at least one', size);
    }
    for (const each of sizes) checkInteger(where, name, each, min, max);
    let total = 0;
    for (const weight of weights) {
      checkInteger(where, `${name}.weights`, weight, 0);
      total += weight;
    }
    if (total < 1 || total > 2 ** 32) refuse(where, `${name}.weights`, 'of a sum from 1 to 2^32', weights);
  } else {
    checkInteger(where, name, size, min, max);
  }
}

export function drawSize(size: Size, rng: Random): number {
  if (typeof size === 'number') return size;
  if ('sizes' in size) {
    let total = 0;
    for (const weight of size.weights) total += weight;
    let rest = rng.integer(total);
    let i = 0;
    while (rest >= size.weights[i]) rest -= size.weights[i++];
    return size.sizes[i];
  }
  return size[0] + rng.integer(size[1] - size[0] + 1);
}

/** All sizes that can be drawn, smallest and largest. */
export function sizeBounds(size: Size): [number, number] {
  if (typeof size === 'number') return [size, size];
  if (!('sizes' in size)) return [size[0], size[1]];
  const possible = size.sizes.filter((_, i) => size.weights[i] > 0).sort((a, b) => a - b);
  return [possible[0], possible[possible.length - 1]];
}
