/** Files that are either complete or not there, also after a power cut. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { FileError } from '@freelunch/errors';
import { makeFolder, type StagedFile, stageFile, writeDurably } from '@freelunch/models/files';
import { InputError } from '../errors.js';

/**
 * Writes files into a folder, which is made if need be. All are first written under temporary names; only when every
 * one is complete do they get their own. If anything fails, or the signal comes, no temporary file is left.
 *
 * @throws FileError if the file system refuses, the signal's reason if it is aborted
 */
export async function writeFiles(
  folder: string,
  files: Record<string, string>,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted();
  await makeFolder(folder);
  const staged: StagedFile[] = [];
  try {
    for (const [name, data] of Object.entries(files))
      staged.push(await stageFile(join(folder, name), data, { signal }));
    signal?.throwIfAborted();
    for (const file of staged) await file.commit();
  } finally {
    await Promise.allSettled(staged.map((file) => file.discard()));
  }
}

/**
 * Writes one file from its parts, into a folder that is made if need be; an old file stays as it was until all is
 * written.
 *
 * @throws FileError if the file system refuses, the signal's reason if it is aborted, or what the parts throw
 */
export async function writeParts(
  path: string,
  parts: Iterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted();
  await makeFolder(dirname(path));
  await writeDurably(path, parts, { signal });
}

/** Finds out before the work, not after it, that a folder cannot be written to. @throws InputError */
export async function checkFolder(folder: string): Promise<void> {
  if (folder.includes('\0')) throw new InputError(`--out must name a folder, got ${folder}`);
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

/**
 * Finds out before the work, not after it, that a file cannot be written, or is not this program's to replace.
 *
 * @param isOwn  whether a file that is there already was written by this program
 * @throws InputError
 */
export async function checkFile(path: string, isOwn: (path: string) => Promise<boolean>): Promise<void> {
  await checkFolder(dirname(path));
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined;
    throw new InputError(`--out ${path} cannot be used: ${cause.message}`, { cause });
  });
  if (found === undefined) return;
  // What is no file, such as /dev/null, would be replaced by one.
  if (!found.isFile())
    throw new InputError(
      `--out must be a file, but ${path} is a ${found.isDirectory() ? 'folder' : 'pipe, socket or device'}`,
    );
  const own = await isOwn(path).catch((cause: unknown) => {
    if (cause instanceof InputError || cause instanceof FileError) return false;
    throw cause;
  });
  if (!own)
    throw new InputError(
      `--out ${path} exists and was not written by this command, so it is left alone; remove it or choose another name`,
    );
}
