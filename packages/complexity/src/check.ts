import { ArgumentError, show } from '@freelunch/errors';

/** Refuses an option. */
export function fail(where: string, name: string, wanted: string, got: unknown): never {
  throw new ArgumentError(`${where}: ${name} must be ${wanted}, got ${show(got)}`);
}

/** A whole number in [least, most]. */
export function whole(where: string, name: string, value: unknown, least: number, most: number): number {
  if (!Number.isSafeInteger(value) || (value as number) < least)
    fail(where, name, `a whole number from ${least} up`, value);
  if ((value as number) > most) fail(where, name, `at most ${most}`, value);
  return value as number;
}

/** One of a list. */
export function oneOf<T extends string>(where: string, name: string, value: unknown, all: readonly T[]): T {
  if (!all.includes(value as T)) {
    const quoted = all.map((one) => `'${one}'`);
    fail(where, name, `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`, value);
  }
  return value as T;
}
