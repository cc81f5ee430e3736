/** `freelunch compare` and `freelunch crossover`: what models cost next to each other, by formula. */
import { join } from 'node:path';
import { compare, type Comparison, crossover, transformerLike } from '@freelunch/complexity';
import { show } from '@freelunch/errors';
import { InputError } from '../errors.js';
import { csv } from '../files/csv.js';
import { checkOwn, writeOwnFiles } from '../files/own.js';
import { comparePage } from '../report/compare-page.js';
import { grouped } from '../report/format.js';
import { scaled, textTable } from '../report/text-table.js';
import { parseOptions, wholeNumbers } from './arguments.js';
import { text } from './shared.js';
import {
  checkAlong,
  checked,
  commonOptions,
  costEnd,
  costOptions,
  curveHelp,
  curveOptions,
  figureOf,
  kindOf,
  largestOf,
  readConfigs,
  situationHelp,
  situationOptions,
  titleOf,
} from './situation.js';
import type { Terminal } from './terminal.js';

const compareHelp = `Usage: freelunch compare CONFIG CONFIG... [options]

One figure of several models at several lengths.

${situationHelp}
${curveHelp}
  --lengths LIST    values of that size (default 128,512,2048,8192)
  --out DIR         write index.html (a page with a plot), compare.json and
                    compare.csv into this folder, a new or empty one or one of an
                    earlier comparison
${costEnd}`;

const crossoverHelp = `Usage: freelunch crossover CONFIG [CONFIG] [options]

From which length on one of two models is cheaper, or that one always is. One model
is compared with a Transformer of its size: the same vocabulary, width and tied or
separate head, a layer for each pair of a mixer and an MLP, in each layer softmax
attention with the heads of the model's own attention (without any, heads of 64
channels, four of which share keys and values), and a SwiGLU MLP so wide that both
have as many parameters.

${situationHelp}
${curveHelp}
${costEnd}`;

const FILES = ['compare.json', 'compare.csv', 'index.html'] as const;

const comparisonCsv = ({ along, lengths, rows }: Comparison) =>
  csv([
    [along, ...rows.map(({ name }) => name)],
    ...lengths.map((length, i) => [length, ...rows.map(({ values }) => values[i])]),
  ]);

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function compareCommand(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('compare', args, {
    ...situationOptions,
    ...curveOptions,
    ...commonOptions,
    lengths: { type: 'string', default: '128,512,2048,8192' },
    out: text,
  });
  if (values.help) return terminal.help(compareHelp);
  const { out } = values;
  const figure = figureOf(values.figure);
  const options = { ...costOptions(values), figure, along: values.along };
  const lengths = wholeNumbers('--lengths', values.lengths, 1, largestOf(kindOf(options)));
  if (out !== undefined) await checkOwn(out, 'compare', FILES);
  const named = await readConfigs(positionals, terminal.signal, 2);
  const models = Object.fromEntries(named.map(({ name, config }) => [name, config]));
  if (Object.keys(models).length < named.length)
    throw new InputError(
      `configs must have different names, got ${named.map(({ name }) => show(name)).join(', ')}`,
    );
  checkAlong(options, named);
  const result = checked(() => compare(models, lengths, options));
  const data = {
    ...result,
    mode: options.mode,
    kind: kindOf(options),
    rows: result.rows.map((row) => ({ ...row, formula: String(row.formula) })),
  };
  if (out !== undefined) {
    const files: Record<(typeof FILES)[number], string> = {
      'compare.json': `${JSON.stringify(data)}\n`,
      'compare.csv': comparisonCsv(result),
      'index.html': comparePage(result, titleOf(options)),
    };
    await writeOwnFiles(out, 'compare', files, terminal.signal);
  }
  if (values.json) return terminal.json(data);
  const header = ['', ...lengths.map(grouped), 'order'];
  const rows = result.rows.map(({ name, values: own, order }) => [name, ...own.map(scaled), order]);
  terminal.say(`${figure}, ${titleOf(options)}, along ${result.along}\n\n`);
  terminal.say(textTable(header, rows, terminal.columns));
  if (out !== undefined)
    terminal.say(`\nPage and data: ${join(out, 'index.html')}, compare.json, compare.csv\n`);
}

/** Runs the command. @throws InputError */
export async function crossoverCommand(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('crossover', args, {
    ...situationOptions,
    ...curveOptions,
    ...commonOptions,
  });
  if (values.help) return terminal.help(crossoverHelp);
  const figure = figureOf(values.figure);
  const options = { ...costOptions(values), figure, along: values.along };
  const [first, given] = await readConfigs(positionals, terminal.signal, 1, 2);
  const second = given ?? {
    name: 'a Transformer of its size',
    config: checked(() => transformerLike(first.config)),
  };
  checkAlong(options, [first, second]);
  const result = checked(() => crossover(first.config, second.config, options));
  const { along } = checked(() => compare({ a: first.config }, [], options));
  const { at, cheaper } = result;
  if (values.json)
    return terminal.json({
      first: first.name,
      second: second.name,
      mode: options.mode,
      kind: kindOf(options),
      figure,
      along,
      ...result,
    });
  const from = at === undefined ? '' : ` from ${along} ${grouped(at)} on`;
  const finding =
    cheaper === 'equal'
      ? `both cost the same${from}`
      : `${(cheaper === 'first' ? first : second).name} is${at === undefined ? ' always' : ''} cheaper${from}`;
  terminal.say(`${figure}, ${titleOf(options)}: ${finding}\n`);
}
