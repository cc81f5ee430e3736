/** A file as a sequence of tokens. */
import { fileURLToPath } from 'node:url';
import { basename } from 'node:path';
import { readBytes } from './read.js';
import { type TokenKind, tokenize, type TokenText } from './tokens.js';

const LARGEST_BYTES = 16 * 2 ** 20;

/** The text that commands take if they are given none. */
export const DEFAULT_TEXT = fileURLToPath(new URL('../../texts/forgetting.txt', import.meta.url));

/**
 * Reads a file with {@link tokenize}.
 *
 * @throws InputError also if there is no such file, it is not a regular file, or it is longer than 16 MiB
 */
export async function readText(path: string, kind: TokenKind): Promise<TokenText> {
  return tokenize(basename(path), await readBytes(path, LARGEST_BYTES), kind);
}
