/**
 * One writer per folder. A lock is a file in the folder that names its owner's process; one whose process is gone is
 * taken over.
 */
import { FileError } from '@freelunch/errors';
import { codeOf, fileError, nodeModules } from './node.js';
import { openFile } from './open.js';
import { makeFolder } from './write.js';

/** The name of the lock's file within its folder. */
export const LOCK = '.freelunch.lock';
/** An owner writes its lock at once: one that is still empty after this time belongs to a process that is gone. */
const UNWRITTEN_MS = 5000;
const RETRY_MS = 50;
const LONGEST_LOCK = 1000;

interface Owner {
  pid: number;
  /** When its process started, as the system counts: another process may get the same number. */
  started: string | undefined;
  host: string;
  since: string;
  token: string;
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** When a process started, where the system says so (Linux). */
async function startOf(pid: number): Promise<string | undefined> {
  const { fs } = await nodeModules();
  const text = await fs.readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19]; // the name, in brackets, may hold anything
}

async function isGone({ pid, started, host }: Owner): Promise<boolean> {
  const { os } = await nodeModules();
  if (host !== os.hostname()) return false; // cannot be known from here
  try {
    process.kill(pid, 0);
  } catch (cause) {
    return codeOf(cause) === 'ESRCH';
  }
  const now = await startOf(pid);
  return started !== undefined && now !== undefined && started !== now;
}

function parseOwner(text: string): Owner | undefined {
  try {
    const owner = JSON.parse(text) as Partial<Owner> | null;
    const { pid, host, since, token } = owner ?? {};
    const whole = Number.isSafeInteger(pid) && pid! > 0;
    const texts = [host, since, token].every((value) => typeof value === 'string');
    return whole && texts ? (owner as Owner) : undefined;
  } catch {
    return undefined; // torn, or not written yet
  }
}

/** @returns undefined if there is no lock */
async function readLock(path: string): Promise<{ owner: Owner | undefined; ageMs: number } | undefined> {
  try {
    const { file } = await openFile(path);
    try {
      const { mtimeMs } = await file.stat();
      const { buffer, bytesRead } = await file.read({ buffer: new Uint8Array(LONGEST_LOCK) });
      const text = new TextDecoder().decode(buffer.subarray(0, bytesRead));
      return { owner: parseOwner(text), ageMs: Date.now() - mtimeMs };
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return undefined;
    throw cause;
  }
}

/** Makes a file that is not there yet. @returns false if it is */
async function create(path: string, content: string): Promise<boolean> {
  const { fs } = await nodeModules();
  try {
    const file = await fs.open(path, 'wx');
    try {
      await file.writeFile(content);
    } finally {
      await file.close();
    }
    return true;
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') return false;
    throw fileError(cause, path, 'cannot be made');
  }
}

/** Whether nobody holds a lock any more. */
async function isStale(path: string): Promise<boolean> {
  const found = await readLock(path);
  if (found === undefined) return false;
  return found.owner === undefined ? found.ageMs > UNWRITTEN_MS : isGone(found.owner);
}

/**
 * Removes a lock whose owner is gone. Only one process does so at a time: another could otherwise remove what the first
 * one has put in its place since.
 */
async function removeStale(path: string): Promise<void> {
  const { fs } = await nodeModules();
  const turn = `${path}.turn`;
  if (!(await create(turn, ''))) {
    const held = await readLock(turn);
    if (held !== undefined && held.ageMs > UNWRITTEN_MS) await fs.rm(turn, { force: true });
    return;
  }
  try {
    if (await isStale(path)) await fs.rm(path, { force: true });
  } finally {
    await fs.rm(turn, { force: true });
  }
}

/**
 * Takes a folder for this process alone, as far as others ask too; makes it if need be. A process that ends without
 * releasing it, killed for instance, no longer holds it.
 *
 * @returns gives it back; a second call does nothing
 * @throws FileError that names the owner if the folder is taken, or if the file system refuses
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const { fs, os, path: paths } = await nodeModules();
  await makeFolder(folder);
  const path = paths.join(folder, LOCK);
  const token = crypto.randomUUID();
  const { pid } = process;
  const started = await startOf(pid);
  const owner: Owner = { pid, started, host: os.hostname(), since: new Date().toISOString(), token };
  const content = `${JSON.stringify(owner)}\n`;
  for (const giveUp = Date.now() + 2 * UNWRITTEN_MS; !(await create(path, content)); await wait(RETRY_MS)) {
    if (await isStale(path)) {
      await removeStale(path);
      continue;
    }
    const held = await readLock(path);
    if (held?.owner !== undefined && !(await isGone(held.owner))) {
      const { pid, host, since } = held.owner;
      const where = host === owner.host ? '' : ` on ${host}`;
      throw new FileError(
        `${folder}: in use by process ${pid}${where} since ${since}; if that is no longer so, remove ${path}`,
      );
    }
    if (Date.now() > giveUp) throw new FileError(`${folder}: in use; if it is not, remove ${path}`);
  }
  let released = false;
  return async () => {
    if (released) return;
    released = true;
    try {
      if ((await readLock(path))?.owner?.token === token) await fs.rm(path, { force: true });
    } catch (cause) {
      throw fileError(cause, path, 'cannot be removed');
    }
  };
}
