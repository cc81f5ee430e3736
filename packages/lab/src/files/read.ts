/** Reading of files that may be anyone's: regular files only, none longer than expected, errors in plain words. */
import { type FileHandle, lstat } from 'node:fs/promises';
import { openFile } from '@freelunch/models/files';
import { FileError } from '@freelunch/errors';
import { InputError } from '../errors.js';

const MiB = 2 ** 20;

/** Whether there is anything of this name. */
export const isThere = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );

/** Runs `use` on an open file. @throws InputError if there is none, or if it is no regular file */
export async function withFile<T>(
  path: string,
  use: (file: FileHandle, size: number) => Promise<T>,
): Promise<T> {
  const { file, size } = await opened(path);
  try {
    return await use(file, size);
  } finally {
    await file.close();
  }
}

async function opened(path: string) {
  if (path === '') throw new InputError('the name of the file is empty');
  if (path.includes('\0')) throw new InputError(`${path} is not the name of a file`);
  try {
    return await openFile(path);
  } catch (cause) {
    if (!(cause instanceof FileError)) throw cause;
    throw new InputError(reason(path, cause), { cause });
  }
}

function reason(path: string, error: FileError): string {
  switch (error.code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return `${path} does not exist`;
    case 'EACCES':
    case 'EPERM':
      return `${path} cannot be read (permission denied)`;
    default:
      return error.message; // names the path itself
  }
}

/** The whole of a file. @throws InputError also if it has more bytes than `largest` */
export function readBytes(path: string, largest: number): Promise<Uint8Array> {
  return withFile(path, async (file, size) => {
    if (size > largest)
      throw new InputError(
        `${path} has ${size} bytes; files of up to ${largest} (${Math.round(largest / MiB)} MiB) are read`,
      );
    return readUpTo(file, largest, 0);
  });
}

/** So many bytes from there on, or fewer if the file ends before. */
export async function readUpTo(file: FileHandle, length: number, position: number): Promise<Buffer> {
  const { size } = await file.stat();
  // Some files, those of /proc, say 0 and hold more.
  const expected = Math.max(0, Math.min(length, size > 0 ? size - position : 64 * 1024));
  const buffer = Buffer.alloc(expected);
  let read = 0;
  while (read < buffer.length) {
    const { bytesRead } = await file.read(buffer, read, buffer.length - read, position + read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return buffer.subarray(0, read);
}

/** What a JSON file holds. @throws InputError also if it is not JSON */
export async function readJson(path: string, largest = 64 * MiB): Promise<unknown> {
  const text = new TextDecoder().decode(await readBytes(path, largest));
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new InputError(`${path} is not JSON: ${(cause as Error).message.split('\n')[0]}`, { cause });
  }
}
