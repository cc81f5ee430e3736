/** Shapes that JSON from a file must have: it may be anyone's, or torn. */
import { show } from '@freelunch/errors';
import { InputError } from '../errors.js';

/** Gives the value back, typed, without fields that it does not know. @param path  of the field, empty for the whole */
export type Shape<T> = (value: unknown, path: string) => T;

/** @throws InputError that names the file and the first field that is wrong */
export function shaped<T>(shape: Shape<T>, value: unknown, file: string): T {
  try {
    return shape(value, '');
  } catch (cause) {
    if (cause instanceof InputError) throw new InputError(`${file}: ${cause.message}`, { cause });
    throw cause;
  }
}

const refuse = (path: string, wanted: string, value: unknown) =>
  new InputError(`${path === '' ? 'the whole' : path} must be ${wanted}, got ${show(value)}`);

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Halves of characters, which JSON can hold and addresses cannot, become the sign for what is unknown. */
export const text: Shape<string> = (value, path) => {
  if (typeof value !== 'string') throw refuse(path, 'text', value);
  return value.replace(/\p{Surrogate}/gu, '\ufffd');
};

export const finite: Shape<number> = (value, path) => {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw refuse(path, 'a number', value);
  return value;
};

export const flag: Shape<boolean> = (value, path) => {
  if (typeof value !== 'boolean') throw refuse(path, 'true or false', value);
  return value;
};

/** An object of any fields. */
export const record: Shape<Record<string, unknown>> = (value, path) => {
  if (!isObject(value)) throw refuse(path, 'an object', value);
  return value;
};

export const oneOf =
  <const T extends readonly unknown[]>(all: T): Shape<T[number]> =>
  (value, path) => {
    if (!all.includes(value)) throw refuse(path, `one of ${all.join(', ')}`, value);
    return value;
  };

export const optional =
  <T>(of: Shape<T>): Shape<T | undefined> =>
  (value, path) =>
    value === undefined ? undefined : of(value, path);

/** @param length  so many elements; any number if absent */
export const list =
  <T>(of: Shape<T>, length?: number): Shape<T[]> =>
  (value, path) => {
    if (!Array.isArray(value)) throw refuse(path, 'a list', value);
    if (length !== undefined && value.length !== length) throw refuse(path, `a list of ${length}`, value);
    return value.map((element, i) => of(element, `${path}[${i}]`));
  };

export const object =
  <T extends Record<string, Shape<unknown>>>(fields: T): Shape<{ [K in keyof T]: ReturnType<T[K]> }> =>
  (value, path) => {
    if (!isObject(value)) throw refuse(path, 'an object', value);
    const entries = Object.entries(fields).map(([name, shape]) => {
      const own = Object.hasOwn(value, name) ? value[name] : undefined;
      return [name, shape(own, path === '' ? name : `${path}.${name}`)];
    });
    return Object.fromEntries(entries) as { [K in keyof T]: ReturnType<T[K]> };
  };
