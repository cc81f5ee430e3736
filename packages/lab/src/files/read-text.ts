/** A file as a sequence of tokens. */
import { basename } from 'node:path';
import { readBytes } from './read.js';
import { type TokenKind, tokenize, type TokenText } from './tokens.js';

const LARGEST_BYTES = 16 * 2 ** 20;

/**
 * Reads a file with {@link tokenize}.
 *
 * @throws InputError also if there is no such file, it is not a regular file, or it is longer than 16 MiB
 */
export async function readText(path: string, kind: TokenKind): Promise<TokenText> {
  return tokenize(basename(path), await readBytes(path, LARGEST_BYTES), kind);
}
