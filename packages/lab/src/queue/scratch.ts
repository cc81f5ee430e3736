/**
 * Folders of checkpoints of pieces that may change hands. Each time that a piece is taken it gets a folder of a new name, into
 * which the newest that there is is renamed: a worker that was believed dead and is not then no longer finds its own, and
 * spoils nothing.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { FileError } from '@freelunch/errors';
import { LOCK } from '@freelunch/models/files';
import { checkOwn, mark } from '../files/own.js';
import { digestOf } from './piece.js';

export interface Scratch {
  folder: string;
  /** Once the piece is done, whoever else has had it. */
  remove(): Promise<void>;
  /** Once another has the piece, and with it what was in the folder. */
  leave(): Promise<void>;
}

/** Makes the folder of a worker, or of several that share it. @throws InputError if it is somebody else's */
export async function openWorkerFolder(folder: string): Promise<void> {
  const { own } = await checkOwn(folder, 'worker', []);
  if (!own) await mark(folder, { freelunch: 'worker', version: 1 });
}

/** Takes the folder of a piece, with what another has left in it. @throws FileError */
export async function takeScratch(folder: string, run: string, key: string): Promise<Scratch> {
  const ofRun = join(folder, run);
  const name = `${key.replace(/[^\w.=-]+/g, '_').slice(0, 60)}-${digestOf(key).slice(0, 12)}`;
  const mine = join(ofRun, `${name}.${randomBytes(6).toString('hex')}`);
  const all = async () => {
    const names = await readdir(ofRun).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return [];
      throw cause;
    });
    return names.filter((other) => other.startsWith(`${name}.`)).map((other) => join(ofRun, other));
  };
  const scratch: Scratch = { folder: mine, remove, leave };
  try {
    const ages = await Promise.all(
      (await all()).map(async (path) => ({
        path,
        at: (await stat(path).catch(() => undefined))?.mtimeMs ?? 0,
      })),
    );
    await mkdir(ofRun, { recursive: true });
    for (const { path } of ages.sort((a, b) => b.at - a.at)) {
      try {
        await rename(path, mine);
        await unlock(mine);
        return scratch;
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause; // another has taken it
      }
    }
    await mkdir(mine, { recursive: true });
    return scratch;
  } catch (cause) {
    throw new FileError(`${mine}: cannot be made: ${(cause as Error).message}`, { cause });
  }

  async function remove(): Promise<void> {
    for (const path of [mine, ...(await all())]) await rm(path, { recursive: true, force: true });
    await rmdir(ofRun).catch(() => {}); // others may still be in it
  }
  async function leave(): Promise<void> {
    await rm(mine, { recursive: true, force: true });
    await rmdir(ofRun).catch(() => {});
  }
}

/**
 * Training locks its folder for its process. Whoever had it no longer has: its process is gone, perhaps with its machine,
 * which nobody here could tell, or it finds nothing at the old name.
 */
async function unlock(folder: string): Promise<void> {
  for (const name of await readdir(folder, { recursive: true }))
    if (basename(name).startsWith(LOCK)) await rm(join(folder, name), { force: true });
}
