import { ArgumentError, type FreelunchError } from './errors.js';
import { nearest } from './nearest.js';
import { show } from './show.js';

/**
 * Refuses options that a function does not have: a misspelt one would otherwise be ignored without a word.
 *
 *     generate: 'temprature' is not an option; did you mean 'temperature'? The options are maxTokens, temperature, ...
 *
 * Options that are given as `undefined` count as absent, unless nothing of that name exists.
 *
 * @param where  the function, as messages name it
 * @param given  an object of options; absent counts as empty
 * @param names  all options there are
 * @param Kind   the error to throw; ArgumentError if absent
 * @throws Kind if `given` is no plain object, or has an own property that is not among `names`
 */
export function checkOptions(
  where: string,
  given: unknown,
  names: readonly string[],
  Kind: new (message: string) => FreelunchError = ArgumentError,
): void {
  if (given === undefined) return;
  if (typeof given !== 'object' || given === null || Array.isArray(given) || ArrayBuffer.isView(given))
    throw new Kind(`${where}: options must be an object, got ${show(given)}`);
  for (const name of Object.keys(given)) {
    if (names.includes(name)) continue;
    const meant = nearest(name, names);
    throw new Kind(
      `${where}: ${show(name)} is not an option; ${meant === undefined ? 'the' : `did you mean '${meant}'? The`} options are ${names.join(', ')}`,
    );
  }
}
