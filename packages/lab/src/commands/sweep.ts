/** `freelunch sweep`: an experiment over a grid of its configurations. */
import { basename, extname, join } from 'node:path';
import { parseOptions } from './arguments.js';
import { InputError } from '../errors.js';
import type { Findings, Row } from '../experiments/experiment.js';
import { completeConfig } from '../running/config.js';
import { type Job, runJobs } from '../running/runner.js';
import { agreement } from '../report/findings-text.js';
import { type AnyExperiment, experimentOf } from '../running/registry.js';
import { checkFolder, writeFiles } from '../files/write.js';
import { progressBar } from './progress.js';
import { OUT, readJson, sharedOptions, terminalColumns, workersOf } from './run.js';
import { wrap } from '../report/text-table.js';

export const sweepHelp = `Usage: freelunch sweep FILE [options]

Runs an experiment over a grid of its configurations, or what is left of it. FILE
is JSON:

  { "experiment": "copy-capacity", "preset": "quick", "set": { "draws": 20 },
    "grid": { "dValue": [8, 16, 32], "seed": [1, 2] } }

  --out DIR       rows.jsonl, rows.csv (the grid's fields in each row), config.json,
                  findings.json (default ${OUT}/sweeps/ and FILE's name)
  --workers N     pieces at a time (default: all cores)
  --restart       forget what DIR holds
  --json          the findings of each point as JSON, nothing else
  -h, --help      this help

Exit codes: 0 done, 2 bad input, 130 interrupted, 1 anything else.
`;

/** What FILE says. */
export interface Sweep {
  experiment: AnyExperiment;
  preset: string;
  set: Row;
  grid: Record<string, unknown[]>;
}

/** One point of the grid. */
export interface SweepPoint {
  fields: Row;
  config: Row;
}

/** @throws InputError that names what is wrong with it */
export function sweepOf(parsed: unknown, name: string): Sweep {
  const isObject = (value: unknown): value is Row =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isObject(parsed)) throw new InputError(`${name} must be an object`);
  const { experiment, preset = 'quick', set = {}, grid, ...others } = parsed;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new InputError(`${name} has no field ${unknown}; there are: experiment, preset, set, grid`);
  if (typeof experiment !== 'string') throw new InputError(`${name}: experiment must be a name`);
  if (typeof preset !== 'string') throw new InputError(`${name}: preset must be quick or full`);
  if (!isObject(set)) throw new InputError(`${name}: set must be an object of fields`);
  if (!isObject(grid) || Object.keys(grid).length === 0)
    throw new InputError(`${name}: grid must be an object of fields, each with a list of values`);
  for (const [field, values] of Object.entries(grid))
    if (!Array.isArray(values) || values.length === 0)
      throw new InputError(`${name}: grid.${field} must be a list of at least one value`);
  return { experiment: experimentOf(experiment), preset, set, grid: grid as Record<string, unknown[]> };
}

/** Every point, the last field changing fastest. @throws InputError if one is no configuration of the experiment */
export function sweepPoints({ experiment, preset, set, grid }: Sweep): SweepPoint[] {
  let points: Row[] = [{}];
  for (const [field, values] of Object.entries(grid))
    points = points.flatMap((point) => values.map((value) => ({ ...point, [field]: value })));
  return points.map((fields) => ({
    fields,
    config: completeConfig(experiment, preset, { ...set, ...fields }),
  }));
}

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function sweepCommand(args: string[], signal: AbortSignal): Promise<void> {
  const { values, positionals } = parseOptions('sweep', args, sharedOptions);
  if (values.help) return void process.stdout.write(sweepHelp);
  if (positionals.length !== 1)
    throw new InputError(`takes one file, got ${positionals.length === 0 ? 'none' : positionals.join(' ')}`);
  const [file] = positionals;
  const sweep = sweepOf(await readJson(file), file);
  const { experiment, preset, set, grid } = sweep;
  const points = sweepPoints(sweep);
  const jobs = points.map(({ fields, config }) =>
    experiment
      .pieces(config)
      .map((piece): Job => ({ key: `${pointName(fields)}: ${piece.key}`, piece, fields })),
  );
  if (values.out === '') throw new InputError('--out must name a folder, got an empty name');
  const folder = values.out ?? join(OUT, 'sweeps', basename(file, extname(file)));
  const workers = workersOf(values.workers);
  await checkFolder(folder);

  const bar = progressBar(process.stderr);
  let results: Row[][];
  try {
    const description = { experiment: experiment.name, preset, set, grid };
    results = await runJobs(experiment, jobs.flat(), description, {
      folder,
      workers,
      ownThread: true,
      restart: values.restart,
      signal,
      onProgress: (done, label = '') => bar.show({ done, label }),
    });
  } catch (cause) {
    bar.clear();
    process.stderr.write(`What is done is kept in ${folder}: the same command continues.\n`);
    throw cause;
  } finally {
    bar.clear();
  }
  let from = 0;
  const found = points.map(({ fields, config }, i) => {
    const rows = results.slice(from, (from += jobs[i].length)).flat();
    const { text, tables, verdicts }: Findings = experiment.findings(config, rows);
    return { fields, config, findings: { text, tables, verdicts } };
  });
  const json = `${JSON.stringify({ experiment: experiment.name, points: found })}\n`;
  await writeFiles(folder, { 'rows.csv': csv(results.flat()), 'findings.json': json }, signal);
  if (values.json) return void process.stdout.write(json);

  const width = Math.max(30, Math.min(process.stdout.columns || terminalColumns(), 110));
  const lines = found.flatMap(({ fields, findings }) => [
    pointName(fields),
    ...findings.verdicts.flatMap(({ claim, measured, agrees }) =>
      wrap(`  ${claim} ${agreement(agrees)}: ${measured}`, width, '    '),
    ),
  ]);
  process.stdout.write(
    `${lines.join('\n')}\n\n${join(folder, 'rows.csv')}, rows.jsonl: ${results.flat().length} rows\n`,
  );
}

const pointName = (fields: Row) =>
  Object.entries(fields)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');

/** All fields of all rows, in the order in which they come up; what is no number or text as JSON. */
export function csv(rows: readonly Row[]): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cell = (value: unknown) => {
    if (value === undefined || value === null) return '';
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [names.map(cell), ...rows.map((row) => names.map((name) => cell(row[name])))]
    .map((cells) => `${cells.join(',')}\n`)
    .join('');
}
