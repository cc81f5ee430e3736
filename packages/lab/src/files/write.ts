/** Files that are either complete or not there. */
import { constants } from 'node:fs';
import { access, mkdir, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { InputError } from '../errors.js';

/**
 * Writes files into a folder, which is made if need be. All are first written under temporary names; only when every
 * one is complete do they get their own. If anything fails, or the signal comes, no temporary file is left.
 *
 * @throws the signal's reason if it is aborted, or what the file system throws
 */
export async function writeFiles(
  folder: string,
  files: Record<string, string>,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted();
  await makeFolder(folder);
  const temporary = Object.keys(files).map((name) => ({
    name,
    path: join(folder, `.${name}.${process.pid}.tmp`),
  }));
  try {
    for (const { name, path } of temporary) {
      const file = await open(path, 'w');
      try {
        await file.writeFile(files[name], { signal });
      } finally {
        await file.close();
      }
    }
    signal?.throwIfAborted();
    for (const { name, path } of temporary) await rename(path, join(folder, name));
  } catch (cause) {
    await Promise.allSettled(temporary.map(({ path }) => rm(path, { force: true })));
    throw cause;
  }
}

/**
 * Writes one file from its parts, into a folder that is made if need be; an old file stays as it was until all is
 * written.
 *
 * @throws InputError if the file system refuses, the signal's reason if it is aborted, or what the parts throw
 */
export async function writeParts(
  path: string,
  parts: Iterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted();
  let temporary: string | undefined;
  try {
    await makeFolder(dirname(path));
    const target = await realpath(path).catch(() => path); // where a link leads to
    temporary = join(dirname(target), `.${basename(target)}.${process.pid}.tmp`);
    const file = await open(temporary, 'w');
    try {
      for (const part of parts) {
        await file.writeFile(part);
        signal?.throwIfAborted();
      }
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (cause) {
    if (temporary !== undefined) await rm(temporary, { force: true });
    if ((cause as NodeJS.ErrnoException).syscall === undefined) throw cause;
    throw new InputError(`--out ${path} cannot be written: ${(cause as Error).message}`, { cause });
  }
}

/** With all above it. Node's own `recursive` does not return below a folder such as /proc, which takes no folders. */
async function makeFolder(folder: string): Promise<void> {
  const make = () =>
    mkdir(folder).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EEXIST') throw cause;
    });
  try {
    await make();
  } catch (cause) {
    const above = dirname(folder);
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT' || above === folder) throw cause;
    await makeFolder(above);
    await make();
  }
}

/** Finds out before the work, not after it, that a file cannot be written. @throws InputError */
export async function checkFile(path: string): Promise<void> {
  await checkFolder(dirname(path));
  const found = await stat(path).catch(() => undefined);
  // What is no file, such as /dev/null, would be replaced by one.
  if (found !== undefined && !found.isFile())
    throw new InputError(`--out must be a file, but ${path} is ${found.isDirectory() ? 'a folder' : 'none'}`);
}

/** Finds out before the work, not after it, that a folder cannot be written to. @throws InputError */
export async function checkFolder(folder: string): Promise<void> {
  for (let path = resolve(folder); ; path = dirname(path)) {
    const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return undefined;
      if (cause.code === 'ENOTDIR')
        throw new InputError(`--out must be a folder: a part of ${folder} is a file`);
      throw new InputError(`--out ${folder} cannot be used: ${cause.message}`, { cause });
    });
    if (found === undefined) continue;
    if (!found.isDirectory()) throw new InputError(`--out must be a folder, but ${path} is a file`);
    await access(path, constants.W_OK).catch((cause: unknown) => {
      throw new InputError(`--out ${folder} cannot be written to (permission denied)`, { cause });
    });
    return;
  }
}
