/** What an experiment found, for a terminal of any width. */
import { checkOptions } from '@freelunch/errors';
import {
  claims,
  type Experiment,
  type Findings,
  type TableData,
  type Verdict,
} from '../experiments/experiment.js';
import { excerptLines } from './excerpts.js';
import { textTable, wrap } from './text-table.js';

export interface FindingsTextOptions {
  /** Width of the terminal. */
  columns: number;
  colour: boolean;
}

/** A verdict's word. */
export const agreement = (agrees: Verdict['agrees']): 'agrees' | 'partly' | 'differs' =>
  agrees === 'partly' ? 'partly' : agrees ? 'agrees' : 'differs';

/** What was found, what theory says and what was measured, tables; figures are for the page. */
export function findingsText(
  { name, summary }: Pick<Experiment, 'name' | 'summary'>,
  { text, tables, verdicts, excerpts = [] }: Findings,
  options: FindingsTextOptions,
): string {
  checkOptions('findingsText', options, ['columns', 'colour']);
  const { columns, colour } = options;
  const width = Math.max(30, Math.min(columns, 110));
  const paint = (code: string, line: string) => (colour ? `\x1b[${code}m${line}\x1b[0m` : line);
  const title = (words: string) => wrap(words, width).map((line) => paint('1', line));
  const lines = [...title(`${name}: ${summary}`), ''];
  for (const finding of text) lines.push(...wrap(`- ${finding}`, width, '  '));
  if (text.length > 0) lines.push('');
  for (const { claim, theory, measured, agrees } of verdicts) {
    const word = agreement(agrees);
    const code = { agrees: '32', partly: '33', differs: '31' }[word];
    lines.push(
      ...wrap(`${claim}: ${claims[claim]}`, width, '    ').map((line, i) =>
        i === 0 ? line.replace(claim, paint('1', claim)) : line,
      ),
      ...wrap(`theory says: ${theory}`, width - 2, '  ').map((line) => `  ${line}`),
      ...wrap(`we measured: ${measured}`, width - 2, '  ').map((line) => `  ${line}`),
      `  ${paint(code, word)}`,
    );
  }
  if (verdicts.length > 0) lines.push('');
  if (excerpts.length > 0) lines.push(...excerptLines(excerpts, width, colour ? paint : undefined));
  for (const table of tables) {
    lines.push(...title(table.title), ...tableLines(table, width));
    if (table.caption !== undefined) lines.push(...wrap(table.caption, width));
    lines.push('');
  }
  return `${lines.join('\n').trimEnd()}\n`;
}

const tableLines = ({ columns, rows }: TableData, width: number) =>
  textTable(columns, rows, width).trimEnd().split('\n');
