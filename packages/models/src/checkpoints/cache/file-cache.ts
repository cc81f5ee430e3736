/** What is in the cache, for users to see and to remove. */
import { ArgumentError, FileError, FreelunchError, show, UnsupportedError } from '@freelunch/errors';
import { hasFiles } from '../../files/node.js';
import { ABOUT, isComplete, parseAbout, piecesOf, versionId } from './about.js';
import { openStore } from './open-store.js';
import type { Store, StoredKey } from './store.js';

export interface CachedFile {
  /** What it was loaded from: `hf:owner/name@main/model.safetensors`, or a URL without its query. */
  readonly source: string;
  /** What it takes in the cache. */
  readonly bytes: number;
  /** Whether all of it is there; else a loading fetches the rest. */
  readonly complete: boolean;
}

export interface FileCache {
  /** The folder, or the name in the Cache API. */
  readonly where: string;
  /** What all of it takes. @throws FileError */
  bytes(): Promise<number>;
  /** The files in it. @throws FileError */
  files(): Promise<CachedFile[]>;
  /**
   * Removes files. Loadings that are under way go on without them.
   *
   * @param source `hf:owner/name`, a revision or a file of it, or the beginning of URLs up to a `/`; all if absent
   * @throws ArgumentError, FileError
   */
  clear(source?: string): Promise<void>;
}

/** @throws ArgumentError, UnsupportedError */
export function checkCache(where: string, cache: unknown): void {
  if (cache === undefined || typeof cache === 'boolean') return;
  if (typeof cache !== 'string' || cache === '' || cache.includes('\0'))
    throw new ArgumentError(`${where}: cache must be true, false or a folder, got ${show(cache)}`);
  if (!hasFiles())
    throw new UnsupportedError(`${where}: cache must be true or false in this runtime, got a folder`);
}

/**
 * Opens the cache that `loadPretrained` and others use where their `cache` is given.
 *
 * @param cache a folder (Node, Deno, Bun); the usual place if absent
 * @throws ArgumentError, UnsupportedError if this runtime has no cache: in private windows, or without https
 */
export async function openCache(cache: true | string = true): Promise<FileCache> {
  checkCache('openCache', cache);
  if (cache !== true && typeof cache !== 'string')
    throw new ArgumentError(`openCache: cache must be true or a folder, got ${show(cache)}`);
  const store = await openStore(cache);
  return {
    where: store.where,
    bytes: () => typed(async () => (await store.keys()).reduce((total, { bytes }) => total + bytes, 0)),
    files: () =>
      typed(async () => {
        const found = [];
        for (const [, keys] of await groupsOf(store)) {
          const file = await describe(store, keys);
          if (file !== undefined && !file.missing) found.push(file.file);
        }
        return found.sort((a, b) => (a.source < b.source ? -1 : 1));
      }),
    clear: (source) =>
      typed(async () => {
        if (source !== undefined && (typeof source !== 'string' || source === ''))
          throw new ArgumentError(`clear: source must be a text, got ${show(source)}`);
        for (const [group, keys] of await groupsOf(store)) {
          if (source !== undefined) {
            const name = (await describe(store, keys))?.file.source;
            if (name === undefined || !isWithin(name, source)) continue;
          }
          // What names them last: a clearing that is broken off can be repeated.
          for (const { key } of keys) if (key !== `${group}/${ABOUT}`) await store.delete(key);
          await store.delete(`${group}/${ABOUT}`);
        }
      }),
  };
}

/** Whether a source is another or lies in it. */
function isWithin(source: string, outer: string): boolean {
  if (!source.startsWith(outer)) return false;
  return source === outer || outer.endsWith('/') || '/@?'.includes(source[outer.length]);
}

async function groupsOf(store: Store): Promise<Map<string, StoredKey[]>> {
  const groups = new Map<string, StoredKey[]>();
  for (const found of await store.keys()) {
    const group = found.key.slice(0, found.key.indexOf('/'));
    const keys = groups.get(group);
    if (keys === undefined) groups.set(group, [found]);
    else keys.push(found);
  }
  return groups;
}

/** @returns undefined if nothing says what it is */
async function describe(
  store: Store,
  keys: readonly StoredKey[],
): Promise<{ file: CachedFile; missing: boolean } | undefined> {
  const about = keys.find(({ key }) => key.endsWith(`/${ABOUT}`));
  const found = about === undefined ? undefined : parseAbout(await store.get(about.key));
  if (found === undefined) return undefined;
  const { source, size, version } = found;
  const bytes = keys.reduce((total, { bytes }) => total + bytes, 0);
  const complete = version !== undefined && isComplete(size, piecesOf(keys, versionId(version)));
  return { file: { source, bytes, complete }, missing: version === undefined };
}

async function typed<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof FreelunchError) throw cause;
    throw new FileError(`cache: cannot be used: ${(cause as Error).message}`, { cause });
  }
}
