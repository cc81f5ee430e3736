/** What the cache knows of a file, besides its bytes. */
import { isObject } from '@freelunch/config';
import { sha256 } from '../sha256.js';
import type { Version } from '../version.js';
import { PIECE_BYTES } from './piece.js';
import type { StoredKey } from './store.js';

export const ABOUT = 'about.json';

export interface About {
  /** What it was loaded from, without what may be secret. */
  readonly source: string;
  /** A digest of the URL's query. */
  readonly query: string;
  /** In bytes, once it is known. */
  readonly size?: number;
  readonly version?: Version;
  /** Why there is no such file, if that is so. */
  readonly missing?: string;
}

export function digestOf(text: string): string {
  const hash = sha256();
  hash.update(new TextEncoder().encode(text));
  return hash.hex().slice(0, 32);
}

/** What the pieces of one content are named by. */
export const versionId = ({ etag, modified, length }: Version): string =>
  digestOf(JSON.stringify(etag ?? [modified, length]));

const isText = (value: unknown): boolean => value === undefined || typeof value === 'string';
const isSize = (value: unknown): boolean =>
  value === undefined || (Number.isSafeInteger(value) && (value as number) >= 0);

/** @returns undefined if it is none: torn, or of another program */
export function parseAbout(bytes: Uint8Array | undefined): About | undefined {
  let about: unknown;
  try {
    about = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
  if (!isObject(about)) return undefined;
  const { source, query, size, version, missing } = about;
  if (typeof source !== 'string' || typeof query !== 'string' || !isSize(size) || !isText(missing))
    return undefined;
  if (version === undefined) return missing === undefined ? undefined : (about as unknown as About);
  if (!isObject(version)) return undefined;
  const { etag, modified, length, packed } = version;
  const whole = isText(etag) && isText(modified) && isSize(length);
  return whole && [undefined, 'no', 'yes', 'unknown'].includes(packed as never)
    ? (about as unknown as About)
    : undefined;
}

/** The pieces of a content that are there, by their numbers. */
export function piecesOf(keys: readonly StoredKey[], version: string): Set<number> {
  const pieces = new Set<number>();
  for (const { key } of keys) {
    const [, id, index] = /\/([0-9a-f]{32})-(\d+)$/.exec(key) ?? [];
    if (id === version) pieces.add(Number(index));
  }
  return pieces;
}

/** Whether all of a file is there. */
export function isComplete(size: number | undefined, pieces: ReadonlySet<number>): boolean {
  if (size === undefined) return false;
  for (let index = 0; index * PIECE_BYTES < size; index++) if (!pieces.has(index)) return false;
  return true;
}
