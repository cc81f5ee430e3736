import { FormatError } from '@freelunch/errors';

/** An object of a JSON file. */
export type Json = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Where the string that begins at `start` ends: behind its closing quote. */
export function endOfString(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x5c) i++;
    else if (code === 0x22) return i + 1;
  }
  return text.length;
}

/** How Transformers 5 writes numbers that JSON does not have: `{"__float__": "Infinity"}`. */
const tag = '__float__';
const special: Readonly<Record<string, number>> = { Infinity, '-Infinity': -Infinity, NaN };

/**
 * JSON as Python writes it: `NaN` and `Infinity` may stand bare. NaN becomes what Transformers 5 writes for it, which
 * {@link plain} reads.
 *
 * @throws FormatError
 */
export function parseJson(text: string, where: string): unknown {
  let standard = '';
  let from = 0;
  for (let i = 0; i < text.length;) {
    const word = text[i] === 'N' ? 'NaN' : 'Infinity';
    if (text[i] === '"') i = endOfString(text, i);
    else if (text.startsWith(word, i)) {
      standard += text.slice(from, i) + (word === 'NaN' ? `{"${tag}":"NaN"}` : '1e999');
      from = i += word.length;
    } else i++;
  }
  try {
    return JSON.parse(standard + text.slice(from));
  } catch (cause) {
    throw new FormatError(`${where}: file must be JSON: ${(cause as Error).message}`, { cause });
  }
}

/** A copy whose numbers are numbers, down to the depth that configs have. */
export function plain(value: unknown, depth = 6): unknown {
  if (typeof value !== 'object' || value === null || depth === 0) return value;
  if (Array.isArray(value)) return Array.from(value, (item) => plain(item, depth - 1));
  const entries = Object.entries(value);
  const [name, text] = entries.length === 1 ? entries[0] : [];
  if (name === tag && typeof text === 'string' && Object.hasOwn(special, text)) return special[text];
  return Object.fromEntries(entries.map(([key, item]) => [key, plain(item, depth - 1)]));
}

/** JSON text, two spaces deep; infinite numbers stand bare, as every release of Transformers reads them. */
export function formatJson(value: unknown): string {
  const mark = '\u0000'; // no text of a config holds a zero
  const bare = (_: string, item: unknown) =>
    typeof item === 'number' && !Number.isFinite(item) ? `${mark}${item}` : item;
  return `${JSON.stringify(value, bare, 2).replace(/"\\u0000(-?Infinity|NaN)"/g, '$1')}\n`;
}
