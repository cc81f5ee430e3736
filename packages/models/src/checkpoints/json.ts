import { FormatError } from '@freelunch/kernels';

/** Where the string that begins at `start` ends: behind its closing quote. */
export function endOfString(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x5c) i++;
    else if (code === 0x22) return i + 1;
  }
  return text.length;
}

/**
 * JSON as Python writes it: `NaN` and `Infinity` may stand bare. NaN becomes the text 'NaN', so that no field that
 * wants a number takes it, nor passes for absent.
 *
 * @throws FormatError
 */
export function parseJson(text: string, where: string): unknown {
  let plain = '';
  let from = 0;
  for (let i = 0; i < text.length;) {
    const word = text[i] === 'N' ? 'NaN' : 'Infinity';
    if (text[i] === '"') i = endOfString(text, i);
    else if (text.startsWith(word, i)) {
      plain += text.slice(from, i) + (word === 'NaN' ? '"NaN"' : '1e999');
      from = i += word.length;
    } else i++;
  }
  try {
    return JSON.parse(plain + text.slice(from));
  } catch (cause) {
    throw new FormatError(`${where}: file must be JSON: ${(cause as Error).message}`, { cause });
  }
}

/** The reverse, two spaces deep. */
export function formatJson(value: unknown): string {
  const mark = '\u0000Infinity'; // no text of ours holds a zero
  const text = JSON.stringify(value, (_, item: unknown) => (item === Infinity ? mark : item), 2);
  return `${text.replaceAll(JSON.stringify(mark), 'Infinity')}\n`;
}

/** A value in an error message: JSON, cut where it gets long. */
export function shown(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    text = 'something nested too deeply';
  }
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
