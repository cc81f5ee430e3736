/** Comma-separated values, as a spreadsheet reads them. */

/**
 * Lines of cells: numbers as they are, nothing for what is absent, other values as JSON. A text that a spreadsheet would
 * take for a formula gets an apostrophe before it.
 */
export const csv = (lines: readonly (readonly unknown[])[]): string =>
  lines.map((cells) => `${cells.map(cell).join(',')}\n`).join('');

/** All fields of all rows, in the order in which they come up. */
export function csvOfRows(rows: readonly Readonly<Record<string, unknown>>[]): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return csv([names, ...rows.map((row) => names.map((name) => row[name]))]);
}

function cell(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'number') return String(value);
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
