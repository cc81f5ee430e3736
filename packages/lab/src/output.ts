/** Files that are either complete or not there. */
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Writes files into a folder, which is made if need be. All are first written under temporary names; only when every
 * one is complete do they get their own. If anything fails, or the signal comes, no temporary file is left.
 *
 * @throws the signal's reason if it is aborted, or what the file system throws
 */
export async function writeFiles(
  folder: string,
  files: Record<string, string>,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted();
  await mkdir(folder, { recursive: true });
  const temporary = Object.keys(files).map((name) => ({
    name,
    path: join(folder, `.${name}.${process.pid}.tmp`),
  }));
  try {
    for (const { name, path } of temporary) {
      const file = await open(path, 'w');
      try {
        await file.writeFile(files[name], { signal });
      } finally {
        await file.close();
      }
    }
    signal?.throwIfAborted();
    for (const { name, path } of temporary) await rename(path, join(folder, name));
  } catch (cause) {
    await Promise.allSettled(temporary.map(({ path }) => rm(path, { force: true })));
    throw cause;
  }
}
