import { UnsupportedError } from '@freelunch/errors';
import { codeOf, fileError, nodeModules } from '../../files/node.js';
import { openFile } from '../../files/open.js';
import { makeFolder, PARTIAL } from '../../files/write.js';
import type { Store, StoredKey } from './store.js';

/** Names that a store gives: whatever else lies in its folder is not touched. */
const GROUP = /^[0-9a-f]{32}$/;
const NAME = /^(?:about\.json|[0-9a-f]{32}-\d{1,9})$/;
/** More than any piece has: a file that is longer is none of ours. */
const MOST_BYTES = 2 ** 26;
/** What a process that was killed has left unfinished is removed after so long. */
const ABANDONED_MS = 24 * 3_600_000;
/** How often a file is written anew whose folder others remove. */
const TRIES = 20;

/** Where a file lies in place of a folder, nothing is either; putting something there says so. */
const isAbsent = (cause: unknown): boolean => ['ENOENT', 'ENOTDIR'].includes(codeOf(cause) ?? '');

/** The folder for caches of this system, or XDG_CACHE_HOME wherever it is set. */
async function usualFolder(): Promise<string> {
  const { os, path } = await nodeModules();
  const { env, platform } = process;
  const ours = ['freelunch', 'checkpoints'];
  // The standard of XDG: paths that are not absolute do not count.
  if (env.XDG_CACHE_HOME !== undefined && path.isAbsolute(env.XDG_CACHE_HOME))
    return path.join(env.XDG_CACHE_HOME, ...ours);
  const home = os.homedir();
  if (platform === 'darwin') return path.join(home, 'Library', 'Caches', ...ours);
  if (platform === 'win32')
    return path.join(env.LOCALAPPDATA ?? path.join(home, 'AppData', 'Local'), ...ours);
  return path.join(home, '.cache', ...ours);
}

export async function openDiskStore(place: true | string): Promise<Store> {
  const { fs, path } = await nodeModules();
  let root: string;
  try {
    root = path.resolve(place === true ? await usualFolder() : place);
  } catch (cause) {
    throw new UnsupportedError(`cache: the folder for it cannot be told: ${(cause as Error).message}`, {
      cause,
    });
  }
  const at = (key: string) => path.join(root, ...key.split('/'));

  const names = async (folder: string): Promise<string[]> => {
    try {
      return await fs.readdir(folder);
    } catch (cause) {
      if (isAbsent(cause)) return [];
      throw fileError(cause, folder, 'cannot be read');
    }
  };

  const group = async (name: string): Promise<StoredKey[]> => {
    const found: StoredKey[] = [];
    for (const file of await names(path.join(root, name))) {
      const full = path.join(root, name, file);
      const stat = await fs.stat(full).catch(() => undefined); // removed by another since
      if (stat === undefined) continue;
      if (PARTIAL.test(file) && Date.now() - stat.mtimeMs > ABANDONED_MS)
        await fs.rm(full, { force: true }).catch(() => {});
      else if (NAME.test(file)) found.push({ key: `${name}/${file}`, bytes: stat.size });
    }
    return found;
  };

  return {
    where: root,
    async get(key) {
      try {
        const { file, size } = await openFile(at(key));
        try {
          const bytes = new Uint8Array(Math.min(size, MOST_BYTES));
          let done = 0;
          while (done < bytes.length) {
            const { bytesRead } = await file.read(bytes, done, bytes.length - done, done);
            if (bytesRead === 0) break;
            done += bytesRead;
          }
          return bytes.subarray(0, done);
        } finally {
          await file.close();
        }
      } catch (cause) {
        if (isAbsent(cause)) return undefined;
        throw fileError(cause, at(key), 'cannot be read');
      }
    },
    async put(key, parts) {
      const target = at(key);
      const folder = path.dirname(target);
      const unique = `${process.pid}-${crypto.randomUUID().slice(0, 8)}`;
      const partial = path.join(folder, `.${path.basename(target)}.${unique}.partial`);
      // Not flushed to the disk: what a power cut leaves of it is told by its digest.
      const write = async () => {
        await makeFolder(folder);
        const file = await fs.open(partial, 'wx');
        try {
          for (const part of parts) await file.writeFile(part);
        } finally {
          await file.close();
        }
        await fs.rename(partial, target);
      };
      try {
        for (let tries = TRIES; ; tries--) {
          try {
            await write();
            return;
          } catch (cause) {
            if (codeOf(cause) !== 'ENOENT' || tries === 1) throw cause; // else another removed the folder meanwhile
          }
        }
      } catch (cause) {
        await fs.rm(partial, { force: true }).catch(() => {}); // the cause says more
        throw fileError(cause, target, 'cannot be written');
      }
    },
    async delete(key) {
      const target = at(key);
      try {
        await fs.rm(target, { force: true });
        await fs.rmdir(path.dirname(target));
      } catch (cause) {
        if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(codeOf(cause) ?? ''))
          throw fileError(cause, target, 'cannot be removed');
      }
    },
    async keys(of) {
      if (of !== undefined) return group(of);
      const found: StoredKey[] = [];
      for (const name of await names(root)) if (GROUP.test(name)) found.push(...(await group(name)));
      return found;
    },
  };
}
