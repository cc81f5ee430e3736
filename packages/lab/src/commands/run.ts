/** `freelunch run`: its arguments, and what it does with them. */
import { readFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { parseOptions, wholeNumber } from './arguments.js';
import { InputError } from '../errors.js';
import type { Findings, Row } from '../experiments/experiment.js';
import { completeConfig, runCommandOf, setField } from '../running/config.js';
import { experimentPage, type Finished } from '../report/findings-page.js';
import { runExperiment } from '../running/runner.js';
import { findingsText } from '../report/findings-text.js';
import { type AnyExperiment, experimentOf, experiments } from '../running/registry.js';
import { checkFolder, writeFiles } from '../files/write.js';
import { progressBar } from './progress.js';
import { wrap } from '../report/text-table.js';

/** Where experiments are put, and looked for. */
export const OUT = 'freelunch-out';

export const runHelp = () => `Usage: freelunch run EXPERIMENT [options]

Runs an experiment, or what is left of it: after Ctrl-C, a crash or a power cut,
the same command continues.

${experimentList()}

  --preset quick|full     seconds to minutes, or what reports quote (default quick)
  --set field=value       a field of the configuration; more than once; lists with
                          commas (--set lengths=64,256)
  --config FILE           fields of the configuration, as JSON
  --out DIR               rows.jsonl, config.json, findings.json, report.html
                          (default ${OUT}/EXPERIMENT)
  --workers N             pieces at a time (default: all cores, here ${availableParallelism()})
  --restart               forget what DIR holds
  --json                  configuration, rows and findings as JSON, nothing else
  -h, --help              this help; with an experiment, its fields

The same configuration gives the same rows whatever the number of workers and of
interruptions, but for what is timed.
Exit codes: 0 done, 2 bad input, 130 interrupted, 1 anything else.
`;

/** All experiments, with the claims that they are on. */
export function experimentList(): string {
  const all = Object.values(experiments);
  const width = Math.max(...all.map(({ name }) => name.length)) + 2;
  return all
    .flatMap(({ name, summary, claims }) =>
      wrap(`${summary} (${claims.join(', ')})`, 78 - width).map(
        (line, i) => `  ${(i === 0 ? name : '').padEnd(width)}${line}`,
      ),
    )
    .join('\n');
}

/** What `run` and `sweep` take alike. */
export const sharedOptions = {
  out: { type: 'string' },
  workers: { type: 'string' },
  restart: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** @throws InputError */
export const workersOf = (text: string | undefined) =>
  text === undefined ? availableParallelism() : wholeNumber('--workers', text, 1, 1024);

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function runCommand(args: string[], signal: AbortSignal): Promise<void> {
  const { values, positionals } = parseOptions('run', args, {
    ...sharedOptions,
    preset: { type: 'string', default: 'quick' },
    set: { type: 'string', multiple: true, default: [] },
    config: { type: 'string' },
  });
  if (values.help && positionals.length === 0) return void process.stdout.write(runHelp());
  if (positionals.length !== 1)
    throw new InputError(
      `takes one experiment, got ${positionals.length === 0 ? 'none' : positionals.join(' ')}; see freelunch run --help`,
    );
  const experiment = experimentOf(positionals[0]);
  if (values.help) {
    const { name, summary, presets } = experiment;
    const shown = (config: Row) =>
      JSON.stringify(config, undefined, 2).replace(/\[[^[\]{}]*\]/g, (list) => list.replace(/\s+/g, ' '));
    process.stdout.write(
      `${name}: ${summary}\n\n--preset quick:\n${shown(presets.quick)}\n\n--preset full:\n${shown(presets.full)}\n`,
    );
    return;
  }
  const fields = values.config === undefined ? {} : await readJson(values.config);
  if (typeof fields === 'object' && fields !== null)
    for (const assignment of values.set) setField(experiment, fields as Row, assignment);
  const config = completeConfig(experiment, values.preset, fields);
  experiment.pieces(config); // bad values are told before anything is written
  if (values.out === '') throw new InputError('--out must name a folder, got an empty name');
  const folder = values.out ?? join(OUT, experiment.name);
  const workers = workersOf(values.workers);
  await checkFolder(folder);

  const bar = progressBar(process.stderr);
  let result;
  try {
    result = await runExperiment(experiment, config, {
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
  const { rows, findings } = result;
  await keepFindings(experiment, config, findings, folder, signal);
  if (values.json) {
    process.stdout.write(
      `${JSON.stringify({ experiment: experiment.name, config, rows, findings: withoutFigures(findings) })}\n`,
    );
    return;
  }
  const { stdout } = process;
  const colour = stdout.isTTY === true && stdout.hasColors();
  const columns = stdout.columns || terminalColumns();
  stdout.write(findingsText(experiment, findings, { columns, colour }));
  const written = `Page and data: ${join(folder, 'report.html')}, rows.jsonl, findings.json`;
  stdout.write(`\n${wrap(written, Math.max(30, columns)).join('\n')}\n`);
}

/** Writes what was found into the folder of an experiment: for the report, and as a page. */
export async function keepFindings(
  experiment: AnyExperiment,
  config: Row,
  findings: Findings,
  folder: string,
  signal: AbortSignal,
): Promise<Finished> {
  const finished: Finished = {
    name: experiment.name,
    summary: experiment.summary,
    command: runCommandOf(experiment, config),
    machine: machine(),
    findings,
  };
  await writeFiles(
    folder,
    { 'findings.json': `${JSON.stringify(finished)}\n`, 'report.html': experimentPage(finished) },
    signal,
  );
  return finished;
}

/** Where the output is no terminal, what the shell says of it. */
export const terminalColumns = () =>
  /^\d+$/.test(process.env.COLUMNS ?? '') ? Number(process.env.COLUMNS) : 80;

const withoutFigures = ({ text, tables, verdicts }: Findings) => ({ text, tables, verdicts });

const machine = () =>
  `${cpus()[0]?.model.trim() ?? process.arch}, Node ${process.versions.node}, kernels: simd`;

/** @throws InputError */
export async function readJson(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new InputError(`${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new InputError(`${path} is not JSON: ${(cause as Error).message}`, { cause });
  }
}
