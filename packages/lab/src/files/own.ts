/**
 * The folders that this program writes into. Its own are those that hold its marker; into an empty or a new one it puts
 * the marker first. Any other folder is somebody else's, and nothing in it is touched.
 */
import { createHash } from 'node:crypto';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { show } from '@freelunch/errors';
import { LOCK, PARTIAL } from '@freelunch/models/files';
import { InputError } from '../errors.js';
import { readJson } from './read.js';
import { object, oneOf, optional, shaped, text } from './shape.js';
import { checkFolder, writeFiles } from './write.js';

export const MARKER = '.freelunch.json';

/** The commands that fill a folder: one does not write into the folder of another. */
const kinds = ['run', 'sweep', 'story', 'copy', 'compare', 'measure', 'worker'] as const;
export type Kind = (typeof kinds)[number];

export interface Marker {
  /** The command. */
  freelunch: Kind;
  version: 1;
  /** A digest of what config.json says: it can be written again. */
  configuration?: string;
}

const markerShape = object({ freelunch: oneOf(kinds), version: oneOf([1]), configuration: optional(text) });

export const digestOf = (data: unknown): string =>
  createHash('sha256').update(JSON.stringify(data)).digest('hex');

/** Whose a folder is: nobody's yet, or this program's. */
export type Ownership = { own: false } | { own: true; marker: Marker };

/**
 * Looks at a folder before work begins; writes nothing.
 *
 * @param files  what will be written into it
 * @param adopts  whether a folder without a marker, which holds these names, is this program's all the same
 * @throws InputError if it is somebody else's, another command's, or cannot be written to
 */
export async function checkOwn(
  folder: string,
  kind: Kind,
  files: readonly string[],
  adopts: (names: readonly string[]) => Promise<boolean> = () => Promise.resolve(false),
): Promise<Ownership> {
  if (folder === '') throw new InputError('--out must name a folder, got an empty name');
  await checkFolder(folder);
  const names = await namesIn(folder);
  if (names.length === 0) return { own: false };
  if (names.includes(MARKER)) {
    await refuseLinks(
      folder,
      [MARKER, LOCK, ...files].filter((name) => names.includes(name)),
    );
    const path = join(folder, MARKER);
    const marker = shaped(markerShape, await readJson(path, 2 ** 16), path);
    if (marker.freelunch !== kind)
      throw new InputError(
        `${folder} holds what freelunch ${marker.freelunch} wrote; choose another folder for freelunch ${kind}`,
      );
    return { own: true, marker };
  }
  await refuseLinks(
    folder,
    files.filter((name) => names.includes(name)),
  );
  if (await adopts(names)) return { own: false };
  const some = names.slice(0, 3).map(show).join(', ');
  const more = names.length > 3 ? ` and ${names.length - 3} more` : '';
  throw new InputError(
    `${folder} is not a folder of freelunch ${kind} (it has no ${MARKER}, but ${some}${more}), so nothing in it is touched; ` +
      `choose an empty or a new folder`,
  );
}

/** Puts the marker into a folder, which is made if need be. */
export async function mark(folder: string, marker: Marker, signal?: AbortSignal): Promise<void> {
  await writeFiles(folder, { [MARKER]: `${JSON.stringify(marker)}\n` }, signal);
}

/** Writes the files of a command into a folder of its own. @throws InputError if it is somebody else's */
export async function writeOwnFiles(
  folder: string,
  kind: Kind,
  files: Record<string, string>,
  signal?: AbortSignal,
): Promise<void> {
  const { own } = await checkOwn(folder, kind, Object.keys(files));
  if (!own) await mark(folder, { freelunch: kind, version: 1 }, signal);
  await writeFiles(folder, files, signal);
}

/** What is in it, apart from what a writer of the marker left when it was killed. */
async function namesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return [];
    throw new InputError(`--out ${folder} cannot be read: ${cause.message}`, { cause });
  });
  return names.filter((name) => !(name.startsWith(`.${MARKER}.`) && PARTIAL.test(name))).sort();
}

/** Who follows a link out of the folder writes where nobody asked for it. */
async function refuseLinks(folder: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const found = await lstat(join(folder, name)).catch(() => undefined);
    if (found?.isSymbolicLink())
      throw new InputError(`${join(folder, name)} is a link; only files within the folder are written`);
  }
}
