import { ArgumentError, checkOptions, show } from '@freelunch/errors';
import type { Context } from './context.js';

import { isQuantized, type QuantizedTensor } from './quantized-tensor.js';
import { isTensor, type Tensor } from './tensor.js';

/** What an argument is, as far as that decides how it is read: its range and shape are checked by the function. */
type Kind =
  | 'tensor'
  | 'number'
  | 'text'
  | 'flag'
  | 'list'
  | 'number or list'
  | 'number, list or tensor'
  | { readonly [Name in string]: Kind };

type KindOf<T> = [T] extends [Tensor | QuantizedTensor]
  ? 'tensor'
  : [T] extends [boolean]
    ? 'flag'
    : [T] extends [number]
      ? 'number'
      : [T] extends [string]
        ? 'text'
        : [T] extends [readonly unknown[]]
          ? 'list'
          : [T] extends [number | readonly number[]]
            ? 'number or list'
            : [T] extends [number | readonly number[] | Tensor]
              ? 'number, list or tensor'
              : { [Name in KeysOfAll<T>]: Kind };

type KeysOfAll<T> = T extends unknown ? keyof T & string : never;

/** The kind of every argument: one that is missing, or that there is not, does not compile. */
type Kinds<Args> = { readonly [Name in keyof Args]-?: KindOf<Exclude<Args[Name], undefined>> };

/** A public function, and the arguments that it takes. */
export interface Op<Args, Result> {
  readonly run: (k: Context, args: Args) => Result;
  readonly args: Readonly<Record<string, Kind>>;
}

/** One entry of a family's list of public functions. */
export function op<Args extends object, Result>(
  run: (k: Context, args: Args) => Result,
  args: Kinds<Args>,
): Op<Args, Result> {
  // Without a prototype: an argument called `constructor` is none.
  return { run, args: Object.assign(Object.create(null) as Record<string, Kind>, args) };
}

/** Longer lists are no arguments: bounds the work on one that lies about its length. */
const LONGEST_LIST = 2 ** 20;

/**
 * The arguments of one call, each read exactly once, into an object that the caller has no hold on: what is checked is
 * what is used, whatever getters and proxies answer the second time. Lists and nested options are copied likewise.
 *
 * @throws ArgumentError for what is no object, for an unknown name, a flag that is no boolean and a list that is none
 */
export function takeArguments<Args>(
  where: string,
  given: unknown,
  kinds: Readonly<Record<string, Kind>>,
): Args {
  if (
    typeof given !== 'object' ||
    given === null ||
    Array.isArray(given) ||
    isTensor(given) ||
    isQuantized(given)
  ) {
    throw new ArgumentError(`${where}: inputs must be one object, got ${kindName(given)}`);
  }
  return take(where, '', given, kinds) as Args;
}

function take(
  where: string,
  prefix: string,
  given: object,
  kinds: Readonly<Record<string, Kind>>,
): Record<string, unknown> {
  const taken: Record<string, unknown> = { ...given };
  for (const name in taken) {
    const value = taken[name];
    const kind = kinds[name];
    if (value === undefined && kind !== undefined) continue; // as good as absent
    switch (kind) {
      case 'tensor':
      case 'number':
      case 'text':
        break; // checked by the function, which knows shape and range
      case 'flag':
        if (typeof value !== 'boolean') refuse(where, prefix + name, 'true or false', value);
        break;
      case 'list':
        taken[name] = takeList(where, prefix + name, value);
        break;
      case 'number or list':
      case 'number, list or tensor':
        if (kind === 'number, list or tensor' && isTensor(value)) break;
        if (typeof value === 'object') taken[name] = takeList(where, prefix + name, value);
        break;
      case undefined:
        if (prefix === '') checkOptions(where, taken, Object.keys(kinds));
        else checkOptions(`${where}: ${prefix.slice(0, -1)}`, taken, Object.keys(kinds));
        break;
      default:
        if (typeof value !== 'object' || value === null || Array.isArray(value)) {
          refuse(where, prefix + name, 'an object', value);
        }
        taken[name] = take(where, `${prefix}${name}.`, value, kind);
    }
  }
  return taken;
}

function takeList(where: string, name: string, value: unknown): unknown[] {
  if (!Array.isArray(value)) refuse(where, name, 'an array', value);
  const { length } = value as unknown[];
  if (length > LONGEST_LIST) refuse(where, name, `at most ${LONGEST_LIST} long`, length);
  const items: unknown[] = [];
  for (let i = 0; i < length; i++) items.push((value as unknown[])[i]);
  return items;
}

function refuse(where: string, name: string, wanted: string, got: unknown): never {
  throw new ArgumentError(`${where}: ${name} must be ${wanted}, got ${show(got)}`);
}

function kindName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (isQuantized(value)) return 'a quantised tensor';
  return isTensor(value) ? 'a tensor' : typeof value;
}
