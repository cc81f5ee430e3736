/** The folder of a run or a sweep: whose it is, which configuration it holds, and what of it is done. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { lockFolder, PARTIAL } from '@freelunch/models/files';
import { InputError } from '../errors.js';
import type { Row } from '../experiments/experiment.js';
import { checkOwn, digestOf, type Kind, mark } from '../files/own.js';
import { isThere, readBytes, readJson } from '../files/read.js';
import { object, record, shaped, text } from '../files/shape.js';
import { writeFiles } from '../files/write.js';
import { differingFields } from './config.js';
import { RowFile, ROWS } from './rows.js';

const CONFIG = 'config.json';
/** For checkpoints of pieces that are not finished. */
const SCRATCH = '.freelunch-scratch';
/** What a run or a sweep writes into its folder, beside its scratch. */
const FILES = [CONFIG, ROWS, 'rows.csv', 'findings.json', 'report.html'];
const LARGEST_CONFIG = 16 * 2 ** 20;

/** What config.json says. */
export type Description = { experiment: string } & Row;

const descriptionShape = object({ experiment: text });

/** What config.json of a folder says. @throws InputError if it is not one of an experiment */
export async function readDescription(folder: string): Promise<Description> {
  const path = join(folder, CONFIG);
  return asDescription(await readJson(path, LARGEST_CONFIG), path);
}

function asDescription(value: unknown, path: string): Description {
  const { experiment } = shaped(descriptionShape, value, path);
  return { ...shaped(record, value, path), experiment };
}

/** @throws InputError if a run cannot write into this folder, because it is somebody else's for instance */
export async function checkRunFolder(folder: string, kind: Kind, description: Description): Promise<void> {
  await checkOwn(folder, kind, [...FILES, SCRATCH], adopts(folder, description));
}

/**
 * Folders of versions before the marker: one that says to the letter what this run would say, and holds nothing else. Their
 * folder `scratch` is left alone.
 */
const adopts = (folder: string, description: Description) => async (names: readonly string[]) => {
  if (!names.includes(CONFIG) || names.some((name) => ![...FILES, 'scratch'].includes(name))) return false;
  const there = await readDescription(folder).catch(() => undefined);
  return JSON.stringify(there) === JSON.stringify(description);
};

export interface RunFolder {
  rows: RowFile;
  /** Where a piece keeps its checkpoints. */
  scratch(index: number, key: string): string;
  /** Removes what only an unfinished run needs. */
  finish(): Promise<void>;
  /** Lets others have the folder. */
  close(): Promise<void>;
}

/**
 * Takes a folder for this run alone, until it is closed.
 *
 * @param keys  of all pieces
 * @param restart  forget what it holds
 * @throws InputError if it is somebody else's or holds another configuration, FileError if another process has it
 */
export async function openRunFolder(
  folder: string,
  kind: Kind,
  description: Description,
  keys: readonly string[],
  restart: boolean,
): Promise<RunFolder> {
  const found = await checkOwn(folder, kind, [...FILES, SCRATCH], adopts(folder, description));
  if (!found.own) await mark(folder, { freelunch: kind, version: 1 });
  const release = await lockFolder(folder);
  try {
    await removePartials(folder);
    if (restart) await forget(folder);
    const digest = digestOf(description);
    await checkDescription(folder, description, found.own && found.marker.configuration === digest);
    await mark(folder, { freelunch: kind, version: 1, configuration: digest });
    const rows = await RowFile.open(folder, keys);
    return {
      rows,
      scratch: (index, key) => join(folder, SCRATCH, scratchName(index, key)),
      finish: () => rm(join(folder, SCRATCH), { recursive: true, force: true }),
      async close() {
        try {
          rows.close();
        } finally {
          await release();
        }
      },
    };
  } catch (cause) {
    await release();
    throw cause;
  }
}

/** Deterministic and a fit name for a folder. */
export const scratchName = (index: number, key: string) =>
  `${String(index).padStart(4, '0')}-${key.replace(/[^\w.=-]+/g, '_').slice(0, 80)}`;

async function forget(folder: string): Promise<void> {
  for (const name of [...FILES, SCRATCH]) await rm(join(folder, name), { recursive: true, force: true });
}

/** What a process left that was killed while it wrote one of the files. */
async function removePartials(folder: string): Promise<void> {
  for (const name of await readdir(folder))
    if (PARTIAL.test(name) && FILES.some((file) => name.startsWith(`.${file}.`)))
      await rm(join(folder, name), { force: true });
}

/**
 * Makes sure that config.json says this, and writes it if it is missing.
 *
 * @param known  whether the marker says that the folder is of this configuration
 * @throws InputError if it says another thing, or nothing that can be read beside rows
 */
async function checkDescription(folder: string, description: Description, known: boolean): Promise<void> {
  const path = join(folder, CONFIG);
  const there = await (async () => {
    if (!(await isThere(path))) return undefined;
    const json = new TextDecoder().decode(await readBytes(path, LARGEST_CONFIG));
    try {
      return asDescription(JSON.parse(json), path);
    } catch {
      return undefined;
    }
  })();
  if (there !== undefined) return refuseOther(folder, there, description);
  if (!known && (await isThere(join(folder, ROWS))))
    throw new InputError(
      `${path} is missing or damaged, so the rows beside it may be of another configuration; --restart starts over without them`,
    );
  await writeFiles(folder, { [CONFIG]: `${JSON.stringify(description, undefined, 2)}\n` });
}

function refuseOther(folder: string, there: Description, description: Description): void {
  const advice = '--restart starts over, another --out leaves it';
  if (there.experiment !== description.experiment)
    throw new InputError(`${folder} holds ${there.experiment}, not ${description.experiment}; ${advice}`);
  if (JSON.stringify(there) === JSON.stringify(description)) return;
  const field = (['config', 'grid', 'set', 'preset'] as const).find(
    (name) => JSON.stringify(there[name]) !== JSON.stringify(description[name]),
  );
  const [old, wanted] = [there, description].map((one) => (one[field ?? ''] ?? {}) as Row);
  const [name] = differingFields(old, wanted);
  const values =
    name === undefined
      ? ''
      : `: ${name} is ${JSON.stringify(old[name])} there, ${JSON.stringify(wanted[name])} here`;
  throw new InputError(
    `${folder} holds another configuration of ${description.experiment}${values}; ${advice}`,
  );
}
