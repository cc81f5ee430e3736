/** A file as a sequence of tokens. */
import { fileURLToPath } from 'node:url';
import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { InputError } from '../errors.js';
import { type TokenKind, tokenize, type TokenText } from './tokens.js';

const LARGEST_BYTES = 16 * 2 ** 20;

/** The text that commands take if they are given none. */
export const DEFAULT_TEXT = fileURLToPath(new URL('../../texts/forgetting.txt', import.meta.url));

/**
 * Reads a file with {@link tokenize}.
 *
 * @throws InputError also if there is no such file, it is no file, or it is longer than 16 MiB
 */
export async function readText(path: string, kind: TokenKind): Promise<TokenText> {
  return tokenize(basename(path), await readBytes(path), kind);
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    const found = await stat(path);
    if (found.isDirectory()) throw new InputError(`${path} is a directory, not a file`);
    // A pipe has an end; what else is no file, such as /dev/zero, may have none.
    if (!found.isFile() && !found.isFIFO()) throw new InputError(`${path} is not a file`);
    const { size } = found;
    if (size > LARGEST_BYTES)
      throw new InputError(`${path} has ${size} bytes; files of up to ${LARGEST_BYTES} (16 MiB) are read`);
    return await readFile(path);
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    const reasons: Record<string, string> = {
      ENOENT: 'does not exist',
      ENOTDIR: 'does not exist',
      EACCES: 'must not be read (permission denied)',
      EPERM: 'must not be read (permission denied)',
    };
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new InputError(`${path} ${reasons[code ?? ''] ?? `cannot be read: ${message}`}`, { cause });
  }
}
