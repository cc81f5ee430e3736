/** Tables for terminals. */

/** Three digits and the power of a thousand: 1.24 G. */
export function scaled(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const power = Math.max(0, Math.min(6, Math.floor(Math.log10(Math.max(1, Math.abs(value))) / 3)));
  const shown = Number((value / 1000 ** power).toPrecision(4));
  return power === 0 ? String(Number.isInteger(value) ? value : shown) : `${shown} ${' kMGTPE'[power]}`;
}

/** Columns side by side, the first to the left; one below the other where the terminal is too narrow. */
export function textTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  columns: number,
): string {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i].length)));
  if (widths.reduce((total, width) => total + width + 2, -2) <= columns) {
    const line = (cells: readonly string[]) =>
      cells
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
        .join('  ')
        .trimEnd();
    return [header, ...rows].map((cells) => `${line(cells)}\n`).join('');
  }
  const indent = Math.max(...header.slice(1).map(({ length }) => length)) + 2;
  return rows
    .map(([first, ...rest]) => {
      const lines = rest.flatMap((cell, i) => {
        const line = `  ${header[i + 1].padEnd(indent)}${cell}`;
        return line.length <= columns
          ? [line]
          : wrap(`${header[i + 1]}: ${cell}`, columns - 2, '  ').map((part) => `  ${part}`);
      });
      return [...wrap(`${header[0]} ${first}`.trim(), columns), ...lines].map((line) => `${line}\n`).join('');
    })
    .join('');
}

/** Names to the left, what they stand for to the right of them, or below where the terminal is too narrow for that. */
export function pairs(rows: readonly (readonly [string, string])[], columns: number): string {
  const beside = Math.max(...rows.map(([name]) => name.length)) + 2;
  const indent = beside > columns / 2 ? 2 : beside;
  return rows
    .flatMap(([name, value]) => {
      const lines = wrap(value, columns - indent);
      if (indent < beside) return [name, ...lines.map((line) => ' '.repeat(indent) + line)];
      return lines.map((line, i) => (i === 0 ? name : '').padEnd(indent) + line);
    })
    .map((line) => `${line}\n`)
    .join('');
}

/** Breaks at blanks; `indent` goes before every line but the first. */
export function wrap(text: string, width: number, indent = ''): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const next = line === '' ? word : line.trim() === '' ? line + word : `${line} ${word}`;
    if (next.length > width && line.trim() !== '') {
      lines.push(line);
      line = indent + word;
    } else line = next;
  }
  return [...lines, line];
}
