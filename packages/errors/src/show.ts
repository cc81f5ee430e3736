const LONGEST = 80;
// C0 and C1 control characters, among them the escape that starts terminal sequences, and marks that reverse text.
// eslint-disable-next-line no-control-regex
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** A text without control characters, which could move the cursor of a terminal or hide what follows: they are shown as escapes. */
export const printable = (text: string): string =>
  text.replace(UNPRINTABLE, (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** A value as it reads in a message: cut if long, without control characters. Never throws. */
export function show(value: unknown): string {
  const text = printable(describe(value));
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 3)}...` : text;
}

function describe(value: unknown): string {
  if (typeof value === 'string') return `'${value.slice(0, LONGEST)}'`;
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null) return String(value);
  try {
    if (ArrayBuffer.isView(value))
      return `${value.constructor.name} of ${(value as { length?: number }).length ?? value.byteLength}`;
    return JSON.stringify(value) ?? 'an object';
  } catch {
    return 'an object that JSON cannot write'; // circular, or with a getter or proxy that throws
  }
}
