/** `freelunch cost`, `compare`, `crossover` and `table`: what models cost, by formula. */
import { join } from 'node:path';
import {
  compare,
  type Comparison,
  type Cost,
  cost,
  type CostOptions,
  crossover,
  type DType,
  dtypeBits,
  type Figure,
  figures,
  type Mode,
  table,
} from '@freelunch/complexity';
import { parseOptions, wholeNumber } from './arguments.js';
import { comparePage } from '../report/compare-page.js';
import { InputError } from '../errors.js';
import { grouped } from '../report/format.js';
import { type NamedConfig, presets, readConfig } from '../files/model-config.js';
import { checkFolder, writeFiles } from '../files/write.js';
import { scaled, textTable } from '../report/text-table.js';

const LARGEST = 2 ** 40;
const modes: readonly Mode[] = ['train', 'prefill', 'decode', 'generate'];
const dtypes = Object.keys(dtypeBits) as DType[];

const shared = `A CONFIG is a JSON file (of @freelunch/models, or a Hugging Face config.json) or one of
  ${Object.keys(presets).slice(0, 4).join(', ')},
  ${Object.keys(presets).slice(4, 8).join(', ')},
  ${Object.keys(presets).slice(8).join(', ')}.

  --mode MODE       ${modes.join(', ')} (default prefill)
  --batch N         sequences at once (default 1)
  --prompt N        tokens of the prompt, of a training sequence, or before the one
                    that is decoded (default 1024)
  --new N           tokens to generate (default 128)
  --dtype TYPE      ${dtypes.join(', ')}
                    (default float32)
  --kind KIND       algorithm: what the formulas need (default); kernel: what the
                    kernels of this project execute`;
const figureHelp = `  --figure FIGURE   flops (default), or one of
                    ${figures.slice(0, 4).join(', ')},
                    ${figures.slice(5).join(', ')}
  --along SIZE      the size that differs (default: seqLen, when decoding position,
                    when generating newTokens); any size of a model, such as dState`;
const end = `  --json            data as JSON, nothing else
  -h, --help        this help

Exit codes: 0 done, 2 bad input.
`;

export const costHelp = `Usage: freelunch cost CONFIG [options]

What a model costs, layer by layer and op by op, from its config alone:
parameters, operations, exps and their like, bytes moved, bytes of the state, and
bytes of the outputs of all ops (kept by training).

${shared}
  --recompute       training computes each block again in its backward pass
  --formulas        the figures of the whole as expressions, with their values
${end}`;

export const compareHelp = `Usage: freelunch compare CONFIG CONFIG... [options]

A figure of several models at several lengths.

${shared}
${figureHelp}
  --lengths LIST    what the size is (default 128,512,2048,8192)
  --out DIR         write index.html (a page with a plot), compare.json, compare.csv
${end}`;

export const crossoverHelp = `Usage: freelunch crossover CONFIG CONFIG [options]

From where on one of two models is the cheaper one, or that this never changes.

${shared}
${figureHelp}
${end}`;

export const tableHelp = `Usage: freelunch table [--T N] [--m N] [--precision BITS] [--json]

What COPY, any dynamic program and an m-local one take, mixer by mixer: size, cost
of the last token and of all, as orders and as numbers, each with the statement it
rests on.

  --T N             tokens to copy, steps of the program (default 1024)
  --m N             tokens that a step looks back at most (default 32)
  --precision BITS  of a float that is kept (default 32)
${end}`;

const text = { type: 'string' } as const;
const flag = { type: 'boolean', default: false } as const;
const common = { json: flag, help: { ...flag, short: 'h' } } as const;
const situation = {
  mode: { type: 'string', default: 'prefill' },
  batch: { type: 'string', default: '1' },
  prompt: { type: 'string', default: '1024' },
  new: { type: 'string', default: '128' },
  dtype: { type: 'string', default: 'float32' },
  kind: { type: 'string', default: 'algorithm' },
} as const;
const curve = { figure: { type: 'string', default: 'flops' }, along: text } as const;

function oneOf<T extends string>(name: string, value: string, all: readonly T[]): T {
  if (!(all as readonly string[]).includes(value))
    throw new InputError(`${name} must be one of ${all.join(', ')}, got '${value}'`);
  return value as T;
}

type Situation = Record<keyof typeof situation, string>;

function costOptions(values: Situation): CostOptions {
  const mode = oneOf('--mode', values.mode, modes);
  const kind = oneOf('--kind', values.kind, ['algorithm', 'kernel'] as const);
  const largest = largestOf(kind);
  return {
    mode,
    kind,
    batch: wholeNumber('--batch', values.batch, 1, LARGEST),
    promptLength: wholeNumber('--prompt', values.prompt, mode === 'decode' ? 0 : 1, largest),
    newTokens: wholeNumber('--new', values.new, 0, largest),
    dtype: oneOf('--dtype', values.dtype, dtypes),
  };
}

/** What kernels execute is counted token by token. */
const largestOf = (kind: CostOptions['kind']) => (kind === 'kernel' ? 65536 : LARGEST);

async function configs(sources: string[], least: number, most: number): Promise<NamedConfig[]> {
  if (sources.length < least || sources.length > most) {
    const wanted = least === most ? `${least}` : `${least} or more`;
    throw new InputError(`takes ${wanted} config${most === 1 ? '' : 's'}, got ${sources.length}`);
  }
  return Promise.all(sources.map(readConfig));
}

/** Errors of the library about a config or an option are the user's to mend. */
function checked<T>(run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof RangeError || cause instanceof TypeError)
      throw new InputError(cause.message.split('\n')[0], { cause });
    throw cause;
  }
}

/** Mode, and whose figures they are if not the algorithm's. */
const titleOf = ({ mode, kind }: CostOptions) => (kind === 'kernel' ? `${mode} by the kernels` : mode);

const print = (output: string) => void process.stdout.write(output);
const printJson = (data: unknown) => print(`${JSON.stringify(data)}\n`);
const columns = () => process.stdout.columns || 80;

const formulasOf = (tree: Cost) =>
  Object.fromEntries(figures.map((figure) => [figure, String(tree.formulas[figure])]));

/** The tree without formulas, whose numbers say it all, but at the top. */
const plain = ({ name, children, ...rest }: Cost): object => ({
  name,
  ...Object.fromEntries(figures.map((figure) => [figure, rest[figure]])),
  children: children.map(plain),
});

export async function costCommand(args: string[]): Promise<void> {
  const { values, positionals } = parseOptions('cost', args, {
    ...situation,
    ...common,
    recompute: flag,
    formulas: flag,
  });
  if (values.help) return print(costHelp);
  const options = { ...costOptions(values), recompute: values.recompute };
  const [{ name, config }] = await configs(positionals, 1, 1);
  const tree = checked(() => cost(config, options));
  if (values.json)
    return printJson({
      model: name,
      ...options,
      ...plain(tree),
      formulas: formulasOf(tree),
      values: tree.values,
    });

  const rows: string[][] = [];
  const add = (part: Cost, depth: number, label: string) => {
    const moved = part.bytesRead + part.bytesWritten;
    const shown = [
      part.params,
      part.flops,
      part.transcendentals,
      moved,
      part.stateBytes,
      part.activationBytes,
    ];
    rows.push([`${'  '.repeat(depth)}${label}`, ...shown.map(scaled)]);
    part.children.forEach((child, i) => {
      // Layers that are the same are shown once.
      const same = (other: Cost | undefined) => other !== undefined && other.formulas === child.formulas;
      if (same(part.children[i - 1])) return;
      let last = i;
      while (same(part.children[last + 1])) last++;
      add(child, depth + 1, last === i ? child.name : `${child.name} to ${last}, each`);
    });
  };
  add(tree, 0, name);
  const header = ['', 'params', 'FLOPs', 'exps', 'bytes', 'state', 'kept'];
  print(
    `${options.mode}, batch ${options.batch}, ${grouped(options.promptLength)} tokens, ${values.dtype}\n\n`,
  );
  print(textTable(header, rows, columns()));
  if (values.formulas) {
    print('\n');
    for (const figure of figures) print(`${figure} = ${tree.formulas[figure]} = ${tree[figure]}\n`);
    const sizes = Object.entries(tree.values).map(([size, value]) => `${size} ${value}`);
    print(`\nwith ${sizes.join(', ')}\n`);
  }
}

export const comparisonCsv = ({ along, lengths, rows }: Comparison) =>
  `${[along, ...rows.map(({ name }) => `"${name.replaceAll('"', '""')}"`)].join(',')}\n` +
  lengths.map((length, i) => `${[length, ...rows.map(({ values }) => values[i])].join(',')}\n`).join('');

export async function compareCommand(args: string[], signal: AbortSignal): Promise<void> {
  const { values, positionals } = parseOptions('compare', args, {
    ...situation,
    ...curve,
    ...common,
    lengths: { type: 'string', default: '128,512,2048,8192' },
    out: text,
  });
  if (values.help) return print(compareHelp);
  const figure: Figure = oneOf('--figure', values.figure, figures);
  const options = { ...costOptions(values), figure, along: values.along };
  const lengths = values.lengths
    .split(',')
    .map((part) => wholeNumber('--lengths', part, 1, largestOf(options.kind)));
  if (values.out === '') throw new InputError('--out must name a folder, got an empty name');
  if (values.out !== undefined) await checkFolder(values.out);
  const named = await configs(positionals, 2, Infinity);
  const models = Object.fromEntries(named.map(({ name, config }) => [name, config]));
  if (Object.keys(models).length < named.length)
    throw new InputError(
      `configs must have different names, got ${named.map(({ name }) => name).join(', ')}`,
    );
  const result = checked(() => compare(models, lengths, options));
  const data = {
    ...result,
    mode: options.mode,
    kind: options.kind,
    rows: result.rows.map((row) => ({ ...row, formula: String(row.formula) })),
  };
  if (values.out !== undefined) {
    const files = {
      'compare.json': `${JSON.stringify(data)}\n`,
      'compare.csv': comparisonCsv(result),
      'index.html': comparePage(result, titleOf(options)),
    };
    await writeFiles(values.out, files, signal);
  }
  if (values.json) return printJson(data);
  print(`${figure}, ${titleOf(options)}, along ${result.along}\n\n`);
  const header = ['', ...lengths.map(grouped), 'order'];
  const rows = result.rows.map(({ name, values: own, order }) => [name, ...own.map(scaled), order]);
  print(textTable(header, rows, columns()));
  if (values.out !== undefined)
    print(`\nPage and data: ${join(values.out, 'index.html')}, compare.json, compare.csv\n`);
}

export async function crossoverCommand(args: string[]): Promise<void> {
  const { values, positionals } = parseOptions('crossover', args, { ...situation, ...curve, ...common });
  if (values.help) return print(crossoverHelp);
  const figure: Figure = oneOf('--figure', values.figure, figures);
  const options = { ...costOptions(values), figure, along: values.along };
  const [first, second] = await configs(positionals, 2, 2);
  const result = checked(() => crossover(first.config, second.config, options));
  const along = checked(() => compare({ a: first.config }, [], options)).along;
  const nameOf = (side: string) => (side === 'first' ? first.name : second.name);
  if (values.json)
    return printJson({
      first: first.name,
      second: second.name,
      mode: options.mode,
      kind: options.kind,
      figure,
      along,
      ...result,
    });
  const what = `${figure}, ${titleOf(options)}`;
  if (result.cheaper === 'equal')
    print(
      `${what}: both cost the same${result.at === undefined ? '' : ` from ${along} ${grouped(result.at)} on`}\n`,
    );
  else if (result.at === undefined) print(`${what}: ${nameOf(result.cheaper)} is always the cheaper one\n`);
  else
    print(`${what}: from ${along} ${grouped(result.at)} on ${nameOf(result.cheaper)} is the cheaper one\n`);
}

export async function tableCommand(args: string[]): Promise<void> {
  const { values, positionals } = parseOptions('table', args, {
    ...common,
    T: { type: 'string', default: '1024' },
    m: { type: 'string', default: '32' },
    precision: { type: 'string', default: '32' },
  });
  if (values.help) return print(tableHelp);
  if (positionals.length > 0) throw new InputError(`takes no name, got ${positionals.join(' ')}`);
  const T = wholeNumber('--T', values.T, 1, LARGEST);
  const m = wholeNumber('--m', values.m, 1, T);
  const entries = table({ T, m, precision: wholeNumber('--precision', values.precision, 1, 64) });
  if (values.json) {
    // Expressions as their text.
    const data = JSON.stringify({ T, m, entries }, (key, value: unknown) =>
      key === 'formula' ? String(value) : value,
    );
    return print(`${data}\n`);
  }
  for (const task of new Set(entries.map((entry) => entry.task))) {
    print(`${task}, T = ${grouped(T)}${task === 'm-local DP' ? `, m = ${grouped(m)}` : ''}\n\n`);
    const rows = entries
      .filter((entry) => entry.task === task)
      .map(({ mechanism, size, sizeBytes, perToken, total, theorem }) => [
        mechanism,
        size.order,
        `${scaled(sizeBytes)}B`,
        perToken.order,
        scaled(perToken.value),
        total.order,
        scaled(total.value),
        theorem,
      ]);
    const header = ['', 'size', 'bytes', 'a token', 'FLOPs', 'total', 'FLOPs', 'by'];
    print(`${textTable(header, rows, columns())}\n`);
  }
}
