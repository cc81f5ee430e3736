/** Checks of an experiment's configuration: each throws an InputError that names the experiment, the field and what came. */
import { InputError } from '../errors.js';

export interface Checks {
  /** Each is a whole number within the range; there is at least one. */
  whole(name: string, values: number | readonly number[], least: number, greatest: number): void;
  /** Each is as `wanted` says; there is at least one. */
  each<T>(name: string, values: readonly T[], right: (value: T) => boolean, wanted: string): void;
  /** Each is one of these; there is at least one. */
  among(name: string, values: readonly string[], of: readonly string[]): void;
  /** None comes twice. */
  once(name: string, values: readonly unknown[]): void;
}

/** @param experiment  its name */
export function checksOf(experiment: string): Checks {
  const shown = (value: unknown) => (typeof value === 'string' ? `'${value}'` : String(value));
  const refuse = (name: string, wanted: string, got: string) =>
    new InputError(`${experiment}: ${name} must be ${wanted}, got ${got}`);

  function each<T>(name: string, values: readonly T[], right: (value: T) => boolean, wanted: string): void {
    if (values.length === 0) throw refuse(name, wanted, 'none');
    for (const value of values) if (!right(value)) throw refuse(name, wanted, shown(value));
  }
  return {
    each,
    whole(name, values, least, greatest) {
      const right = (value: number) => Number.isSafeInteger(value) && value >= least && value <= greatest;
      const list = typeof values === 'number' ? [values] : values;
      each(name, list, right, `a whole number from ${least} to ${greatest}`);
    },
    among(name, values, of) {
      each(name, values, (value) => of.includes(value), `of ${of.join(', ')}`);
    },
    once(name, values) {
      const twice = values.find((value, i) => values.indexOf(value) !== i);
      if (twice !== undefined)
        throw new InputError(
          `${experiment}: ${name} must differ from one another, got ${shown(twice)} twice`,
        );
    },
  };
}
