/**
 * Files that are either complete or not there, also after a power cut: what is written goes into a new file beside the
 * old one and is flushed to the disk, then takes the old one's name, and the folder that holds the name is flushed.
 */
import { ArgumentError, checkOptions, FileError, show } from '@freelunch/errors';
import { codeOf, fileError, nodeModules } from './node.js';

/** Text or bytes, whole or in pieces. */
export type FileData =
  string | Uint8Array | Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;

export interface WriteOptions {
  /** Stops the writing, and leaves the old file as it was. */
  signal?: AbortSignal;
}

/** A file that is complete and on the disk, but does not have its name yet. */
export interface StagedFile {
  /** Gives it its name, in place of the file that had it. @throws FileError */
  commit(): Promise<void>;
  /** Removes it; does nothing after `commit`. */
  discard(): Promise<void>;
}

/** What files have at the end of their names while they are written. */
export const PARTIAL = /^\..*\.\d+-[0-9a-f]{8}\.partial$/s;

function pieces(data: FileData): Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array> {
  if (typeof data === 'string' || data instanceof Uint8Array) return [data];
  if (typeof data === 'object' && data !== null && (Symbol.iterator in data || Symbol.asyncIterator in data))
    return data;
  throw new ArgumentError(`writeDurably: data must be text, bytes or pieces of them, got ${show(data)}`);
}

/** A name that no other writer uses, beside the file and never longer than its file system allows. */
async function temporaryName(path: string): Promise<string> {
  const { path: paths } = await nodeModules();
  const unique = `${process.pid}-${crypto.randomUUID().slice(0, 8)}`;
  return paths.join(paths.dirname(path), `.${paths.basename(path).slice(0, 48)}.${unique}.partial`);
}

/** Flushes the names that a folder holds. Windows and some network drives have no such thing. */
export async function syncFolder(folder: string): Promise<void> {
  const { fs } = await nodeModules();
  try {
    const handle = await fs.open(folder, fs.constants.O_RDONLY | (fs.constants.O_DIRECTORY ?? 0));
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    if (['EPERM', 'EISDIR', 'EINVAL', 'ENOTSUP', 'ENOSYS', 'EACCES'].includes(codeOf(cause) ?? '')) return;
    throw fileError(cause, folder, 'cannot be flushed');
  }
}

/**
 * Makes a folder, with all above it, if it is not there.
 *
 * @throws FileError
 */
export async function makeFolder(folder: string): Promise<void> {
  const { fs, path } = await nodeModules();
  const missing: string[] = [];
  // Node's own `recursive` does not return below a folder such as /proc, which takes no folders. Each turn here goes
  // one level up, and the way down makes each level once.
  for (let level = path.resolve(folder); ; level = path.dirname(level)) {
    const found = await fs.stat(level).catch((cause: unknown) => {
      if (codeOf(cause) === 'ENOENT') return undefined;
      throw fileError(cause, folder, 'cannot be made');
    });
    if (found !== undefined) {
      if (!found.isDirectory()) throw new FileError(`${folder}: must be a folder, but ${level} is a file`);
      break;
    }
    if (path.dirname(level) === level)
      throw new FileError(`${folder}: cannot be made: ${level} is not there`);
    missing.push(level);
  }
  for (const level of missing.toReversed()) {
    try {
      await fs.mkdir(level);
    } catch (cause) {
      if (codeOf(cause) !== 'EEXIST') throw fileError(cause, folder, 'cannot be made'); // made by another since
    }
    await syncFolder(path.dirname(level));
  }
}

/** Where a path leads, through links, and what is there. */
async function targetOf(path: string): Promise<{ target: string; mode: number | undefined }> {
  const { fs } = await nodeModules();
  const target = await fs.realpath(path).catch(() => path);
  const found = await fs.stat(target).catch((cause: unknown) => {
    if (codeOf(cause) === 'ENOENT') return undefined;
    throw cause;
  });
  if (found !== undefined && !found.isFile()) {
    throw new FileError(
      `${path}: must be a file, got a ${found.isDirectory() ? 'folder' : 'pipe, socket or device'}`,
    );
  }
  return { target, mode: found === undefined ? undefined : found.mode & 0o777 };
}

/**
 * Writes a file in full under a name of the moment, in its folder, which must be there. Several files that belong
 * together are all staged before the first is committed.
 *
 * @throws FileError, the signal's reason, or what the pieces throw; nothing of it is left then
 */
export async function stageFile(
  path: string,
  data: FileData,
  options: WriteOptions = {},
): Promise<StagedFile> {
  checkOptions('writeDurably', options, ['signal']);
  const { signal } = options;
  if (typeof path !== 'string' || path === '' || path.includes('\0'))
    throw new ArgumentError(`writeDurably: path must be the name of a file, got ${show(path)}`);
  const parts = pieces(data);
  signal?.throwIfAborted();
  const { fs, path: paths } = await nodeModules();
  let temporary: string | undefined;
  try {
    const { target, mode } = await targetOf(path);
    temporary = await temporaryName(target);
    const staged = temporary;
    const file = await fs.open(staged, 'wx', mode);
    try {
      if (mode !== undefined) await file.chmod(mode); // what the umask took away
      for await (const part of parts) {
        signal?.throwIfAborted();
        await file.writeFile(part, { signal });
      }
      signal?.throwIfAborted();
      await file.sync();
    } finally {
      await file.close();
    }
    let there = true;
    return {
      async commit() {
        try {
          await fs.rename(staged, target);
          there = false;
          await syncFolder(paths.dirname(target));
        } catch (cause) {
          throw fileError(cause, path, 'cannot be written');
        }
      },
      async discard() {
        if (there) await fs.rm(staged, { force: true });
        there = false;
      },
    };
  } catch (cause) {
    if (temporary !== undefined) await fs.rm(temporary, { force: true }).catch(() => {}); // the cause says more
    signal?.throwIfAborted();
    throw fileError(cause, path, 'cannot be written');
  }
}

/**
 * Writes a file: complete and on the disk once this returns, or as it was before. Links are followed; the
 * permissions of a file that is there are kept.
 *
 * @param path  a file in a folder that is there
 * @throws FileError, the signal's reason, or what the pieces throw
 */
export async function writeDurably(path: string, data: FileData, options: WriteOptions = {}): Promise<void> {
  const staged = await stageFile(path, data, options);
  try {
    await staged.commit();
  } catch (cause) {
    await staged.discard();
    throw cause;
  }
}
