/** `freelunch sweep`: an experiment over a grid of its configurations. */
import { basename, extname, join } from 'node:path';
import { show } from '@freelunch/errors';
import { InputError, unknownName } from '../errors.js';
import type { Row } from '../experiments/experiment.js';
import { csvOfRows } from '../files/csv.js';
import { writeOwnFiles } from '../files/own.js';
import { readJson } from '../files/read.js';
import { isObject } from '../files/shape.js';
import { agreement } from '../report/findings-text.js';
import { grouped } from '../report/format.js';
import { wrap } from '../report/text-table.js';
import { completeConfig } from '../running/config.js';
import { checkRunFolder } from '../running/folder.js';
import { LONGEST_LIST, MOST_PIECES, MOST_POINTS } from '../running/limits.js';
import { type AnyExperiment, experimentOf } from '../running/registry.js';
import { findingsOf, type Job, runJobs } from '../running/runner.js';
import { parseOptions } from './arguments.js';
import {
  carrierOf,
  EXIT_CODES,
  flag,
  onlyOne,
  OUT,
  redisHelp,
  redisOption,
  runOptions,
  runOptionsHelp,
  underProgress,
  sharingOf,
} from './shared.js';
import type { Terminal } from './terminal.js';

const sweepHelp = `Usage: freelunch sweep FILE [options]

Runs an experiment over a grid of configurations, or what is left of it. FILE is
JSON:

  { "experiment": "copy-capacity", "preset": "quick", "set": { "draws": 20 },
    "grid": { "dValue": [8, 16, 32], "seed": [1, 2] } }

  --out DIR               a new or empty folder, or one of an earlier sweep, for
                          rows.jsonl, rows.csv (each row with its point of the
                          grid), config.json and findings.json
                          (default ${OUT}/sweeps/ and FILE's name)
${runOptionsHelp}${redisHelp}  --json                  the findings of each point as JSON, nothing else
  -h, --help              this help

A grid has at most ${grouped(MOST_POINTS)} points.
${EXIT_CODES}
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

const FIELDS = ['experiment', 'preset', 'set', 'grid'];

/** @throws InputError that names what is wrong with it */
export function sweepOf(parsed: unknown, name: string): Sweep {
  const refuse = (field: string, wanted: string, got: unknown) =>
    new InputError(`${name}: ${field} must be ${wanted}, got ${show(got)}`);
  if (!isObject(parsed)) throw refuse('the whole', 'an object', parsed);
  const { experiment, preset = 'quick', set = {}, grid, ...others } = parsed;
  const [other] = Object.keys(others);
  if (other !== undefined) throw unknownName('field', other, FIELDS);
  if (typeof experiment !== 'string') throw refuse('experiment', 'the name of one', experiment);
  if (typeof preset !== 'string') throw refuse('preset', 'quick or full', preset);
  if (!isObject(set)) throw refuse('set', 'an object of fields', set);
  if (!isObject(grid) || Object.keys(grid).length === 0)
    throw refuse('grid', 'an object of fields, each with a list of values', grid);
  for (const [field, values] of Object.entries(grid)) {
    if (!Array.isArray(values) || values.length === 0 || values.length > LONGEST_LIST)
      throw refuse(`grid.${field}`, `a list of 1 to ${LONGEST_LIST} values`, values);
    const seen = new Set<string>();
    for (const value of values) {
      const text = JSON.stringify(value);
      if (seen.has(text)) throw new InputError(`${name}: grid.${field} has ${show(value)} twice`);
      seen.add(text);
    }
  }
  const points = Object.values(grid).reduce(
    (total: number, values) => total * (values as unknown[]).length,
    1,
  );
  if (points > MOST_POINTS)
    throw new InputError(`${name}: grid must have at most ${MOST_POINTS} points, got ${points}`);
  return { experiment: experimentOf(experiment), preset, set, grid: grid as Record<string, unknown[]> };
}

/** Every point, the last field changing fastest. @throws InputError if one is not a configuration of the experiment */
export function sweepPoints({ experiment, preset, set, grid }: Sweep): SweepPoint[] {
  let points: Row[] = [{}];
  for (const [field, values] of Object.entries(grid))
    points = points.flatMap((point) => values.map((value) => ({ ...point, [field]: value })));
  return points.map((fields) => ({
    fields,
    config: completeConfig(experiment, preset, { ...set, ...fields }),
  }));
}

/** The pieces of all points. @throws InputError if they are too many, or if two points ask for the same */
function jobsOf({ experiment }: Sweep, points: readonly SweepPoint[], name: string): Job[][] {
  let count = 0;
  return points.map(({ fields, config }) => {
    const pieces = experiment.pieces(config);
    count += pieces.length;
    if (count > MOST_PIECES)
      throw new InputError(`${name}: all points together must have at most ${MOST_PIECES} pieces`);
    return pieces.map((piece): Job => ({ key: `${pointName(fields)}: ${piece.key}`, piece, config, fields }));
  });
}

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function sweepCommand(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('sweep', args, { ...runOptions, ...redisOption, json: flag });
  if (values.help) return terminal.help(sweepHelp);
  const file = onlyOne('file', positionals);
  const sweep = sweepOf(await readJson(file, 2 ** 20), file);
  const { experiment, preset, set, grid } = sweep;
  const points = sweepPoints(sweep);
  const jobs = jobsOf(sweep, points, file);
  const folder = values.out ?? join(OUT, 'sweeps', basename(file, extname(file)));
  const sharing = sharingOf(values);
  const carrier = carrierOf(values, terminal);
  const description = { experiment: experiment.name, preset, set, grid };
  await checkRunFolder(folder, 'sweep', description);

  const results = await underProgress(
    terminal,
    folder,
    { ...sharing, restart: values.restart, carrier },
    (options) => runJobs(experiment, jobs.flat(), { kind: 'sweep', description }, options),
  );
  let from = 0;
  const found = points.map(({ fields, config }, i) => {
    const rows = results.slice(from, (from += jobs[i].length)).flat();
    const { text, tables, verdicts } = findingsOf(experiment, config, rows, folder);
    return { fields, config, findings: { text, tables, verdicts } };
  });
  const data = { experiment: experiment.name, points: found };
  const files = { 'rows.csv': csvOfRows(results.flat()), 'findings.json': `${JSON.stringify(data)}\n` };
  await writeOwnFiles(folder, 'sweep', files, terminal.signal);
  if (values.json) return terminal.json(data);

  const lines = found.flatMap(({ fields, findings }) => [
    ...wrap(pointName(fields), terminal.width, '  '),
    ...findings.verdicts.flatMap(({ claim, measured, agrees }) =>
      wrap(`  ${claim} ${agreement(agrees)}: ${measured}`, terminal.width, '    '),
    ),
  ]);
  const written = `${join(folder, 'rows.csv')}, rows.jsonl: ${grouped(results.flat().length)} rows`;
  terminal.say(`${[...lines, '', ...wrap(written, terminal.width)].join('\n')}\n`);
}

const pointName = (fields: Row) =>
  Object.entries(fields)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');
