/** Text as a sequence of tokens. */
import { InputError } from '../errors.js';

export type TokenKind = 'characters' | 'bytes';

/** A sequence of tokens and what they stand for. */
export interface TokenText {
  name: string;
  kind: TokenKind;
  /** Numbers of symbols in the vocabulary. */
  tokens: Int32Array;
  /** The different symbols in order of their code: characters (Unicode code points) or byte values. */
  vocabulary: number[];
}

const LARGEST_VOCABULARY = 4096;

/**
 * Splits a file's bytes into characters (Unicode code points of UTF-8) or takes them as they are.
 *
 * @throws InputError if there are none, or more than 4,096 different characters, or, as characters, no UTF-8 text
 */
export function tokenize(name: string, bytes: Uint8Array, kind: TokenKind): TokenText {
  if (bytes.length === 0) throw new InputError(`${name} is empty`);
  const codes = kind === 'bytes' ? Array.from(bytes) : codePoints(name, bytes);
  const vocabulary = [...new Set(codes)].sort((a, b) => a - b);
  if (vocabulary.length > LARGEST_VOCABULARY) {
    throw new InputError(
      `${name} has ${vocabulary.length} different characters; up to ${LARGEST_VOCABULARY} work, or --tokens bytes`,
    );
  }
  const numbers = new Map(vocabulary.map((code, i) => [code, i]));
  return { name, kind, tokens: Int32Array.from(codes, (code) => numbers.get(code)!), vocabulary };
}

function codePoints(name: string, bytes: Uint8Array): number[] {
  const advice = 'use --tokens bytes to read it all the same';
  if (bytes.includes(0)) throw new InputError(`${name} is binary (it has zero bytes); ${advice}`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new InputError(`${name} is not UTF-8 text; ${advice}`, { cause });
  }
  if (text === '') throw new InputError(`${name} is empty except for a byte order mark`);
  return Array.from(text, (character) => character.codePointAt(0)!);
}

/** Shown for a token that a mixer gave nothing back for. */
export const NOTHING = '·';

/** What stands for each symbol on a screen: itself if it can be seen, one sign in place of it if not. */
export function glyphs({ vocabulary, kind }: Pick<TokenText, 'vocabulary' | 'kind'>): string[] {
  return vocabulary.map((code) => {
    if (code === 10) return '↵';
    if (code === 9) return '→';
    if (kind === 'bytes' && code > 126) return '▯';
    const character = String.fromCodePoint(code);
    // Controls, lone surrogates, marks that join the sign before them, all kinds of separators but the blank.
    return code !== 32 && /[\p{C}\p{M}\p{Z}]/u.test(character) ? '▯' : character;
  });
}
