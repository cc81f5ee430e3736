/** What an experiment found, for a terminal of any width. */
import type { Experiment, Findings, TableData, Verdict } from '../experiments/experiment.js';
import { textTable, wrap } from './text-table.js';

export interface FindingsTextOptions {
  /** Width of the terminal. */
  columns: number;
  colour: boolean;
}

/** A verdict's word. */
export const agreement = (agrees: Verdict['agrees']): 'agrees' | 'partly' | 'differs' =>
  agrees === 'partly' ? 'partly' : agrees ? 'agrees' : 'differs';

/** Tables, sentences, and the lines of what theory says and what was measured; figures are for the page. */
export function findingsText(
  { name, summary }: Pick<Experiment, 'name' | 'summary'>,
  { text, tables, verdicts }: Findings,
  { columns, colour }: FindingsTextOptions,
): string {
  const width = Math.max(30, Math.min(columns, 110));
  const paint = (code: string, line: string) => (colour ? `\x1b[${code}m${line}\x1b[0m` : line);
  const title = (words: string) => wrap(words, width).map((line) => paint('1', line));
  const lines = [...title(`${name}: ${summary}`), ''];
  for (const table of tables) {
    lines.push(...title(table.title), ...tableLines(table, width));
    if (table.caption !== undefined) lines.push(...wrap(table.caption, width));
    lines.push('');
  }
  for (const finding of text) lines.push(...wrap(`- ${finding}`, width, '  '));
  if (text.length > 0) lines.push('');
  for (const { claim, theory, measured, agrees } of verdicts) {
    const word = agreement(agrees);
    const code = { agrees: '32', partly: '33', differs: '31' }[word];
    lines.push(
      `${paint('1', claim)}  ${paint(code, word)}`,
      ...wrap(`theory says: ${theory}`, width - 2, '  ').map((line) => `  ${line}`),
      ...wrap(`we measured: ${measured}`, width - 2, '  ').map((line) => `  ${line}`),
    );
  }
  return `${lines.join('\n').trimEnd()}\n`;
}

const tableLines = ({ columns, rows }: TableData, width: number) =>
  textTable(columns, rows, width).trimEnd().split('\n');
