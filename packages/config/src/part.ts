import { ArgumentError, checkOptions, show } from '@freelunch/errors';
import { limits } from './limits.js';

/** One part of a config, such as a mixer: each option is read once, checked, and filled in if absent. */
export class Part {
  readonly #where: string;
  readonly #name: string;
  readonly #given: Readonly<Record<string, unknown>>;

  /**
   * @param where   the function, as messages name it
   * @param name    the part; empty for the config itself
   * @param options all that it may have
   */
  constructor(where: string, name: string, given: object, options: readonly string[]) {
    this.#where = where;
    this.#name = name;
    this.#given = { ...given }; // a getter could answer otherwise the second time
    checkOptions(name === '' ? where : `${where}: ${name}`, this.#given, options);
  }

  get(key: string): unknown {
    return this.#given[key];
  }

  /** A whole number; `absent` undefined: may be left out. */
  whole<T extends number | undefined>(
    key: string,
    absent: T,
    least = 1,
    most: number = limits.size,
  ): number | T {
    const value = this.get(key) ?? absent;
    if (
      this.get(key) === null ||
      (value !== undefined && (!Number.isSafeInteger(value) || (value as number) < least))
    )
      this.fail(key, `a whole number from ${least} up`);
    if ((value as number) > most) this.fail(key, `at most ${most}`, value);
    return value as number | T;
  }

  /** A whole number that must be given. */
  needed(key: string, most?: number): number {
    return this.whole(key, undefined, 1, most) ?? this.fail(key, 'a whole number from 1 up');
  }

  eps(key: string, absent: number): number {
    const value = this.get(key) === undefined ? absent : this.get(key);
    if (!(typeof value === 'number' && value >= limits.leastEps && value < 1))
      this.fail(key, `a number from ${limits.leastEps} up, below 1`);
    return value as number;
  }

  /** A number above 0. Must be given if there is no `absent`. */
  positive(key: string, absent?: number): number {
    const value = this.get(key) === undefined ? absent : this.get(key);
    if (!(typeof value === 'number' && value > 0 && value < Infinity))
      this.fail(key, 'a finite number above 0');
    return value as number;
  }

  finite(key: string, absent: number): number {
    const value = this.get(key) === undefined ? absent : this.get(key);
    if (!Number.isFinite(value)) this.fail(key, 'a finite number');
    return value as number;
  }

  flag(key: string, absent: boolean): boolean {
    const value = this.get(key);
    if (value !== undefined && typeof value !== 'boolean') this.fail(key, 'true or false');
    return (value as boolean | undefined) ?? absent;
  }

  oneOf<const T extends string>(key: string, absent: T, ...others: readonly T[]): T {
    const value = this.get(key);
    if (value !== undefined && value !== absent && !others.includes(value as T))
      this.fail(key, eitherOf([absent, ...others]));
    return (value as T | undefined) ?? absent;
  }

  fail(key: string, wanted: string, got: unknown = this.get(key)): never {
    fail(this.#where, this.#name === '' ? key : `${this.#name}.${key}`, wanted, got);
  }
}

export function fail(where: string, name: string, wanted: string, got: unknown): never {
  throw new ArgumentError(`${where}: ${name} must be ${wanted}, got ${show(got)}`);
}

/** `'a', 'b' or 'c'`, and from five on `one of 'a', 'b' ...`: values that a message offers. */
export function eitherOf(values: readonly string[]): string {
  const quoted = values.map((value) => `'${value}'`);
  return values.length > 4
    ? `one of ${quoted.join(', ')}`
    : `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`;
}

/** A part that may be given by its type alone. @returns an object whose type is one of `types` */
export function typed<T extends string>(
  where: string,
  name: string,
  value: unknown,
  types: readonly T[],
): { type: T } {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const { type } = value as { type?: unknown };
    if (!types.includes(type as T)) fail(where, `${name}.type`, eitherOf(types), type);
    return { ...value, type: type as T };
  }
  if (!types.includes(value as T)) fail(where, name, eitherOf(types), value);
  return { type: value as T };
}
