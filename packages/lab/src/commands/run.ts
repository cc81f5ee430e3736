/** `freelunch run`: its arguments, and what it does with them. */
import { join } from 'node:path';
import { show } from '@freelunch/errors';
import { InputError } from '../errors.js';
import type { Findings, Row } from '../experiments/experiment.js';
import { readJson } from '../files/read.js';
import { isObject } from '../files/shape.js';
import { findingsText } from '../report/findings-text.js';
import { wrap } from '../report/text-table.js';
import { completeConfig, setField } from '../running/config.js';
import { keepFindings } from '../running/finished.js';
import { checkRunFolder } from '../running/folder.js';
import { experimentOf, experiments } from '../running/registry.js';
import { runExperiment } from '../running/runner.js';
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
  text,
  underProgress,
  sharingOf,
} from './shared.js';
import type { Terminal } from './terminal.js';

const runHelp = (width: number) => `Usage: freelunch run EXPERIMENT [options]

Runs an experiment, or what is left of it: after Ctrl-C, a crash or a power cut,
the same command continues.

${experimentList(width)}

  --preset quick|full     seconds to minutes, or what reports quote (default quick)
  --set field=value       a field of the configuration; may be repeated; lists are
                          written with commas (--set lengths=64,256)
  --config FILE           fields of the configuration, as JSON
  --out DIR               a new or empty folder, or one of an earlier run, for
                          rows.jsonl, config.json, findings.json and report.html
                          (default ${OUT}/EXPERIMENT)
${runOptionsHelp}${redisHelp}  --json                  configuration, rows and findings as JSON, nothing else
  -h, --help              this help; with an experiment, its fields

The same configuration gives the same rows, whatever the number of workers and of
interruptions, except for measured times.
${EXIT_CODES}
`;

/** All experiments, with the claims that they are on. */
function experimentList(columns: number): string {
  const all = Object.values(experiments);
  const width = Math.max(...all.map(({ name }) => name.length)) + 2;
  return all
    .flatMap(({ name, summary, claims }) =>
      wrap(`${summary} (${claims.join(', ')})`, Math.min(columns, 80) - 2 - width).map(
        (line, i) => `  ${(i === 0 ? name : '').padEnd(width)}${line}`,
      ),
    )
    .join('\n');
}

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function runCommand(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('run', args, {
    ...runOptions,
    ...redisOption,
    json: flag,
    preset: { type: 'string', default: 'quick' },
    set: { type: 'string', multiple: true, default: [] },
    config: text,
  });
  if (values.help && positionals.length === 0) return terminal.help(runHelp(terminal.columns));
  const experiment = experimentOf(onlyOne('experiment', positionals));
  if (values.help) {
    const { name, summary, presets } = experiment;
    const shown = (config: Row) =>
      JSON.stringify(config, undefined, 2).replace(/\[[^[\]{}]*\]/g, (list) => list.replace(/\s+/g, ' '));
    const parts = [`${name}: ${summary}`];
    for (const preset of ['quick', 'full'] as const)
      parts.push(`--preset ${preset}:\n${shown(presets[preset])}`);
    return terminal.say(`${parts.join('\n\n')}\n`);
  }
  const fields = values.config === undefined ? {} : await readJson(values.config);
  if (!isObject(fields)) throw new InputError(`${values.config} must hold an object, got ${show(fields)}`);
  for (const assignment of values.set) setField(experiment, fields, assignment);
  const config = completeConfig(experiment, values.preset, fields);
  experiment.pieces(config); // bad values are told before anything is written
  const folder = values.out ?? join(OUT, experiment.name);
  const sharing = sharingOf(values);
  const carrier = carrierOf(values, terminal);
  await checkRunFolder(folder, 'run', { experiment: experiment.name, config });

  const { rows, findings } = await underProgress(
    terminal,
    folder,
    { ...sharing, restart: values.restart, carrier },
    (options) => runExperiment(experiment, config, options),
  );
  await keepFindings(experiment, config, findings, folder, terminal.signal);
  if (values.json)
    return terminal.json({ experiment: experiment.name, config, rows, findings: withoutFigures(findings) });
  const { columns, width, colour } = terminal;
  terminal.say(findingsText(experiment, findings, { columns, colour }));
  const written = `Page and data: ${join(folder, 'report.html')}, rows.jsonl, findings.json`;
  terminal.say(`\n${wrap(written, width).join('\n')}\n`);
}

const withoutFigures = ({ text, tables, verdicts }: Findings) => ({ text, tables, verdicts });
