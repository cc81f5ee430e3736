/** `freelunch table`: what COPY and dynamic programs need, by formula. */
import { table } from '@freelunch/complexity';
import { InputError } from '../errors.js';
import { grouped } from '../report/format.js';
import { scaled, textTable } from '../report/text-table.js';
import { parseOptions, wholeNumber } from './arguments.js';
import { commonOptions, costEnd, LARGEST } from './situation.js';
import type { Terminal } from './terminal.js';

const tableHelp = `Usage: freelunch table [--T N] [--m N] [--precision BITS] [--json]

What COPY, any dynamic program and an m-local one (no step of it looks back more
than m tokens) need, mixer by mixer: size, cost of the last token and of all, as
orders and as numbers, each with the statement it rests on. Costs are those of mixing
alone; all FLOPs has the projections too. built: whether @freelunch/constructions has
a model of the row; where it has none, the row rests on the statement alone.

  --T N             tokens to copy, or steps of the program (default 1024)
  --m N             how many tokens a step looks back at most (default 32)
  --precision BITS  of each float that is kept (default 32)
${costEnd}`;

/** Runs the command. @throws InputError */
export async function tableCommand(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('table', args, {
    ...commonOptions,
    T: { type: 'string', default: '1024' },
    m: { type: 'string', default: '32' },
    precision: { type: 'string', default: '32' },
  });
  if (values.help) return terminal.help(tableHelp);
  if (positionals.length > 0) throw new InputError(`takes no arguments, got ${positionals.join(' ')}`);
  const T = wholeNumber('--T', values.T, 1, LARGEST);
  const m = wholeNumber('--m', values.m, 1, T);
  const entries = table({ T, m, precision: wholeNumber('--precision', values.precision, 1, 64) });
  if (values.json) {
    const withText = <F extends { formula: object }>(figure: F) => ({
      ...figure,
      formula: String(figure.formula),
    });
    return terminal.json({
      T,
      m,
      entries: entries.map(({ size, perToken, total, totalWithProjections, ...rest }) => ({
        ...rest,
        size: withText(size),
        perToken: withText(perToken),
        total: withText(total),
        totalWithProjections: withText(totalWithProjections),
      })),
    });
  }
  for (const task of new Set(entries.map((entry) => entry.task))) {
    terminal.say(`${task}, T = ${grouped(T)}${task === 'm-local DP' ? `, m = ${grouped(m)}` : ''}\n\n`);
    const rows = entries
      .filter((entry) => entry.task === task)
      .map(({ mechanism, size, sizeBytes, perToken, total, totalWithProjections, theorem, construction }) => [
        mechanism,
        size.order,
        `${scaled(sizeBytes)}B`,
        perToken.order,
        scaled(perToken.value),
        total.order,
        scaled(total.value),
        scaled(totalWithProjections.value),
        theorem,
        construction === undefined ? 'no' : 'yes',
      ]);
    const header = ['', 'size', 'bytes', 'per token', 'FLOPs', 'total', 'FLOPs', 'all FLOPs', 'by', 'built'];
    terminal.say(`${textTable(header, rows, terminal.columns)}\n`);
  }
}
