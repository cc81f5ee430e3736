/** `freelunch report`: one page of all experiments that were run. */
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { InputError } from '../errors.js';
import { isThere, readBytes, readJson } from '../files/read.js';
import { shaped } from '../files/shape.js';
import { checkFile, writeFiles } from '../files/write.js';
import { finishedShape } from '../report/finished.js';
import { type Finished, reportPage } from '../report/findings-page.js';
import { GENERATOR } from '../report/page.js';
import { wrap } from '../report/text-table.js';
import { missingClaims } from '../running/finished.js';
import { readDescription } from '../running/folder.js';
import { experiments } from '../running/registry.js';
import { parseOptions } from './arguments.js';
import { helpOption, OUT } from './shared.js';
import type { Terminal } from './terminal.js';

const reportHelp = `Usage: freelunch report [DIR...] [options]

Builds one HTML page, which loads nothing, from the experiments in these folders
(default ${OUT}): for each its question, command, figures and tables; at the top,
for each claim, what theory says and what was measured. A DIR is a folder of an
experiment, or a folder of such folders. Sweeps are listed, but not on the page.

  --out FILE    (default ${OUT}/report.html)
  -h, --help    this help

Exit codes: 0 done, 2 bad input.
`;

/** Runs the command. @throws InputError, or the signal's reason if it is aborted */
export async function reportCommand(args: string[], terminal: Terminal): Promise<void> {
  const { values, positionals } = parseOptions('report', args, {
    out: { type: 'string', default: join(OUT, 'report.html') },
    ...helpOption,
  });
  if (values.help) return terminal.help(reportHelp);
  if (values.out === '') throw new InputError('--out must name a file, got an empty name');
  if (positionals.includes('')) throw new InputError('the name of a folder is empty');
  const given = positionals.length > 0 ? positionals : [OUT];
  const folders = (await Promise.all(given.map((folder) => foldersBelow(folder)))).flat();
  const finished: Finished[] = [];
  const notes: string[] = [];
  for (const folder of new Set(folders)) {
    terminal.signal.throwIfAborted();
    const found = await readFolder(folder);
    if (typeof found === 'string') notes.push(found);
    else finished.push(found);
  }
  if (finished.length === 0)
    throw new InputError(
      `there is no finished experiment in ${given.join(', ')}; freelunch run --help lists what to run`,
    );
  await checkFile(values.out, isPage);
  const order = Object.keys(experiments);
  finished.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  const missing = missingClaims(finished);
  const page = reportPage(finished, missing);
  await writeFiles(dirname(values.out), { [basename(values.out)]: page }, terminal.signal);

  const lines = [`${values.out}: ${finished.map(({ name }) => name).join(', ')}`, ...notes];
  for (const { claim, command } of missing) lines.push(`${claim} not run: ${command ?? 'no experiment yet'}`);
  terminal.say(`${lines.flatMap((line) => wrap(line, terminal.width, '  ')).join('\n')}\n`);
}

/** What an experiment found; a sentence if it is not for the page. */
async function readFolder(folder: string): Promise<Finished | string> {
  const path = join(folder, 'findings.json');
  const description = await readDescription(folder).catch((cause: unknown) => {
    if (cause instanceof InputError) return undefined;
    throw cause;
  });
  if (description !== undefined && 'grid' in description)
    return `Left out, a sweep: ${folder} (its rows.csv has all rows)`;
  if (!(await isThere(path)))
    return `Left out, not finished: ${description?.experiment ?? 'an experiment'} in ${folder}`;
  const found = await readJson(path);
  try {
    return shaped(finishedShape, found, path);
  } catch (cause) {
    if (!(cause instanceof InputError)) throw cause;
    throw new InputError(`${cause.message}; the command that ran the experiment writes it again`, { cause });
  }
}

/** @param deeper  whether folders of sweeps may be one level further down */
async function foldersBelow(folder: string, deeper = true): Promise<string[]> {
  if (await isThere(join(folder, 'config.json'))) return [folder];
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause: NodeJS.ErrnoException) => {
    throw new InputError(
      cause.code === 'ENOENT'
        ? `${folder} does not exist`
        : cause.code === 'ENOTDIR'
          ? `${folder} is not a folder`
          : `${folder} cannot be read: ${cause.message}`,
      { cause },
    );
  });
  const found: string[] = [];
  for (const { name } of entries.filter((entry) => entry.isDirectory()).sort(byName)) {
    const below = join(folder, name);
    if (await isThere(join(below, 'config.json'))) found.push(below);
    else if (deeper && name === 'sweeps') found.push(...(await foldersBelow(below, false)));
  }
  return found;
}

const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);

/** Whether a file is a page of this program. */
async function isPage(path: string): Promise<boolean> {
  const start = new TextDecoder().decode(await readBytes(path, 256 * 2 ** 20)).slice(0, 1000);
  return start.includes(GENERATOR);
}
