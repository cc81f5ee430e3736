/** Tokens that need no file: bytes, and the characters of a text. */
import { ArgumentError, show } from '@freelunch/errors';
import type { TextTokens } from './generate-text.js';

function checkList(ids: readonly number[]): void {
  if (!Array.isArray(ids)) throw new ArgumentError(`decode: ids must be a list of ids, got ${show(ids)}`);
}

/** One token for each byte of UTF-8: `vocabSize` 256. Bytes that are no character are decoded as U+FFFD. */
export const byteTokens: Readonly<TextTokens & { size: number }> = Object.freeze({
  size: 256,
  encode(text: string): number[] {
    if (typeof text !== 'string') throw new ArgumentError(`encode: text must be a text, got ${show(text)}`);
    return Array.from(new TextEncoder().encode(text));
  },
  decode(ids: readonly number[]): string {
    checkList(ids);
    const wrong = ids.find((id) => !Number.isInteger(id) || id < 0 || id > 255);
    if (wrong !== undefined)
      throw new ArgumentError(`decode: ids must be bytes from 0 to 255, got ${show(wrong)}`);
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(ids));
  },
});

/**
 * One token for each character that a text has, in the order of their code points.
 *
 * @returns `size`, how many there are, `characters`, and encode and decode, which refuse others
 * @throws ArgumentError if the text is empty
 */
export function characterTokens(text: string): TextTokens & { size: number; characters: readonly string[] } {
  if (typeof text !== 'string' || text === '')
    throw new ArgumentError(
      `characterTokens: text must be a text of one character or more, got ${show(text)}`,
    );
  const characters = [...new Set(text)].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
  const ids = new Map(characters.map((character, id) => [character, id]));
  return {
    size: characters.length,
    characters,
    encode(given) {
      if (typeof given !== 'string')
        throw new ArgumentError(`encode: text must be a text, got ${show(given)}`);
      return Array.from(given, (character) => {
        const id = ids.get(character);
        if (id === undefined)
          throw new ArgumentError(
            `encode: text must have characters of these tokens only, got ${show(character)}`,
          );
        return id;
      });
    },
    decode(given) {
      checkList(given);
      return given
        .map((id) => {
          if (characters[id] === undefined)
            throw new ArgumentError(
              `decode: ids must be whole numbers from 0 to ${characters.length - 1}, got ${show(id)}`,
            );
          return characters[id];
        })
        .join('');
    },
  };
}
