/** The fields of a config.json: how each is read, and what it is if absent. Absent and null are the same. */
import { FormatError, nearest, show, UnsupportedError } from '@freelunch/errors';
import { isHarmless } from './harmless.js';
import { isObject, type Json } from './json.js';

/** A field of a file, for messages about it. */
export class Place {
  readonly #where: string;
  readonly #name: string;
  readonly #value: unknown;

  constructor(where: string, name: string, value: unknown) {
    this.#where = where;
    this.#name = name;
    this.#value = value;
  }

  /** What lies in this field. */
  get inside(): string {
    return `${this.#where}: ${this.#name}`;
  }

  /** The file is wrong. */
  bad(wanted: string): never {
    throw new FormatError(`${this.inside} must be ${wanted}, got ${show(this.#value)}`);
  }

  /** The file asks for what no config has. */
  unsupported(wanted: string): never {
    throw new UnsupportedError(`${this.inside} must be ${wanted} to be supported, got ${show(this.#value)}`);
  }
}

/** Reads one field. @param value undefined if the file has none */
export type Field<T> = (value: unknown, place: Place) => T;

export type FieldTable = Readonly<Record<string, Field<unknown>>>;
export type Values<F extends FieldTable> = { readonly [K in keyof F]: ReturnType<F[K]> };

/** A whole number. */
export function whole(absent: number): Field<number>;
export function whole(): Field<number | undefined>;
export function whole(absent?: number): Field<number | undefined> {
  return (value, place) => {
    const number = value ?? absent;
    if (number !== undefined && !(Number.isSafeInteger(number) && (number as number) >= 0))
      place.bad('a whole number from 0 up');
    return number as number | undefined;
  };
}

export function number(absent: number): Field<number>;
export function number(): Field<number | undefined>;
export function number(absent?: number): Field<number | undefined> {
  return (value, place) => {
    const given = value ?? absent;
    if (given !== undefined && (typeof given !== 'number' || Number.isNaN(given))) place.bad('a number');
    return given as number | undefined;
  };
}

export const flag =
  (absent: boolean): Field<boolean> =>
  (value, place) => {
    const given = value ?? absent;
    return typeof given === 'boolean' ? given : place.bad('true or false');
  };

/** One of these values; the first if absent. All others are known to Transformers, perhaps, but not here. */
export const only =
  <const T extends string | number | boolean | null | undefined>(
    absent: T,
    ...others: readonly T[]
  ): Field<T> =>
  (value, place) => {
    const values = [absent, ...others];
    if (value !== undefined && value !== null && !values.includes(value as T))
      place.unsupported(values.map(show).join(' or '));
    return (value as T | null | undefined) ?? absent;
  };

/** Absent, null or empty: what it says otherwise is not supported. */
export const empty: Field<void> = (value, place) => {
  if (value === undefined || value === null) return;
  if (typeof value !== 'object' || Object.keys(value).length > 0) place.unsupported('empty');
};

/** `auto`, which Transformers writes for ceil(hidden_size / 16), or a whole number. */
export const rank: Field<number | undefined> = (value, place) =>
  value === 'auto' ? undefined : whole()(value, place);

/** Bounds of a time step; those that bound nothing are none. */
export const timeStepLimit: Field<readonly [number, number] | undefined> = (value, place) => {
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value) || value.length !== 2 || value.some((bound) => typeof bound !== 'number'))
    place.bad('two numbers');
  const [least, most] = value as [number, number];
  return least === 0 && most === Infinity ? undefined : [least, most];
};

/** The same where a model has no such bounds: only those that bound nothing. */
export const noTimeStepLimit: Field<void> = (value, place) => {
  if (timeStepLimit(value, place) !== undefined) place.unsupported('[0, Infinity]');
};

/** Whole numbers, such as the layers of a kind; none if absent. */
export const wholes: Field<readonly number[]> = (value, place) => {
  if (value === undefined || value === null) return [];
  const items: unknown[] = Array.isArray(value) ? value : place.bad('a list');
  if (!items.every((item) => Number.isSafeInteger(item) && (item as number) >= 0))
    place.bad('a list of whole numbers from 0 up');
  return items as readonly number[];
};

/** The type of each layer, one of these. */
export const layerTypes =
  <const T extends string>(...types: readonly T[]): Field<readonly T[] | undefined> =>
  (value, place) => {
    if (value === undefined || value === null) return undefined;
    if (!Array.isArray(value)) place.bad('a list');
    if (!(value as unknown[]).every((type) => types.includes(type as T)))
      place.unsupported(`a list of ${types.map(show).join(' and ')}`);
    return value as readonly T[];
  };

/** Null is not the default here. */
export const nullable =
  <T>(field: Field<T>): Field<T | null> =>
  (value, place) =>
    value === null ? null : field(value, place);

/** Does not change what the model computes, whatever it says. */
export const harmless: Field<unknown> = (value) => value;

/** Fields inside a field. */
export const group =
  <F extends FieldTable>(fields: F): Field<Values<F>> =>
  (value, place) => {
    const inside = value ?? {};
    return isObject(inside) ? readFields(inside, fields, place.inside) : place.bad('an object');
  };

/** A field of that name, for messages. */
export const placeOf = (json: Json, where: string, name: string): Place =>
  new Place(where, name, Object.hasOwn(json, name) ? json[name] : undefined);

/**
 * Reads the fields of a table. A field that is in no table is refused: it may change what the model computes.
 *
 * @throws FormatError, UnsupportedError naming the field
 */
export function readFields<F extends FieldTable>(json: Json, fields: F, where: string): Values<F> {
  for (const [name, value] of Object.entries(json)) {
    if (value === null || Object.hasOwn(fields, name) || isHarmless(name)) continue;
    const meant = nearest(name, Object.keys(fields));
    throw new UnsupportedError(
      `${where}: ${show(name)} is not a known field${meant === undefined ? '.' : `; did you mean '${meant}'?`} ` +
        'It could change what the model computes; remove it if it does not',
    );
  }
  const values = Object.entries(fields).map(([name, field]) => [
    name,
    field(Object.hasOwn(json, name) ? json[name] : undefined, placeOf(json, where, name)),
  ]);
  return Object.fromEntries(values) as Values<F>;
}
