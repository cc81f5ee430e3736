/** `freelunch report`: one page of all experiments that were run. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { parseOptions } from './arguments.js';
import { InputError } from '../errors.js';
import { type Claim, claims } from '../experiments/experiment.js';
import { readDescription } from '../running/runner.js';
import { type Finished, type Missing, reportPage } from '../report/findings-page.js';
import { experiments } from '../running/registry.js';
import { finishedShape } from '../report/finished.js';
import { shaped } from '../files/shape.js';
import { checkFile, writeFiles } from '../files/write.js';
import { OUT, readJson } from './run.js';

export const reportHelp = `Usage: freelunch report [DIR...] [options]

Builds one HTML page, which loads nothing, from the experiments in these folders
(default ${OUT}): of each its question, command, figures and tables; at the top
what theory says of every claim beside what was measured. A DIR is a folder of an
experiment, or a folder of such folders.

  --out FILE    (default ${OUT}/report.html)
  -h, --help    this help

Exit codes: 0 done, 2 bad input.
`;

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function reportCommand(args: string[], signal: AbortSignal): Promise<void> {
  const { values, positionals } = parseOptions('report', args, {
    out: { type: 'string', default: join(OUT, 'report.html') },
    help: { type: 'boolean', short: 'h', default: false },
  });
  if (values.help) return void process.stdout.write(reportHelp);
  if (values.out === '') throw new InputError('--out must name a file, got an empty name');
  await checkFile(values.out);
  const folders = (
    await Promise.all((positionals.length > 0 ? positionals : [OUT]).map(foldersBelow))
  ).flat();
  const finished: Finished[] = [];
  const unfinished: string[] = [];
  for (const folder of folders) {
    const path = join(folder, 'findings.json');
    if (!existsSync(path))
      unfinished.push(`${readDescription(join(folder, 'config.json')).experiment} in ${folder}`);
    else finished.push(await readFindings(path));
  }
  if (finished.length === 0)
    throw new InputError(
      `there is no finished experiment in ${positionals.join(', ') || OUT}; freelunch run --help lists what to run`,
    );
  const order = Object.keys(experiments);
  finished.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  const missing = missingClaims(finished);
  await writeFiles(dirname(values.out), { [basename(values.out)]: reportPage(finished, missing) }, signal);

  const lines = [`${values.out}: ${finished.map(({ name }) => name).join(', ')}`];
  for (const name of unfinished) lines.push(`Left out, not finished: ${name}`);
  for (const { claim, command } of missing) lines.push(`${claim} not run: ${command ?? 'no experiment yet'}`);
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** Claims without a verdict, and what would give one. */
export function missingClaims(finished: readonly Finished[]): Missing[] {
  const judged = new Set(finished.flatMap(({ findings }) => findings.verdicts.map(({ claim }) => claim)));
  return (Object.keys(claims) as Claim[])
    .filter((claim) => !judged.has(claim))
    .map((claim) => {
      const experiment = Object.values(experiments).find((one) => one.claims.includes(claim));
      return { claim, command: experiment && `freelunch run ${experiment.name} --preset full` };
    });
}

async function foldersBelow(folder: string): Promise<string[]> {
  if (existsSync(join(folder, 'config.json'))) return [folder];
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause: NodeJS.ErrnoException) => {
    throw new InputError(
      cause.code === 'ENOENT' ? `${folder} does not exist` : `${folder} cannot be read: ${cause.message}`,
      { cause },
    );
  });
  return entries
    .filter((entry) => entry.isDirectory() && existsSync(join(folder, entry.name, 'config.json')))
    .map((entry) => join(folder, entry.name))
    .sort();
}

async function readFindings(path: string): Promise<Finished> {
  return shaped(finishedShape, await readJson(path), path);
}
