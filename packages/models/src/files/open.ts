import { FileError } from '@freelunch/errors';
import { fileError, nodeModules } from './node.js';

/**
 * Opens a file for reading. Never waits: opening a pipe would block a thread, and with it the end of the process, until
 * somebody writes to it.
 *
 * @throws FileError if it is not there, not readable, or not a regular file
 */
export async function openFile(path: string) {
  const { fs } = await nodeModules();
  try {
    const file = await fs.open(path, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0));
    try {
      const found = await file.stat();
      if (!found.isFile()) {
        throw new FileError(
          `${path}: must be a file, got a ${found.isDirectory() ? 'folder' : 'pipe, socket or device'}`,
        );
      }
      return { file, size: found.size };
    } catch (cause) {
      await file.close();
      throw cause;
    }
  } catch (cause) {
    throw fileError(cause, path, 'cannot be read');
  }
}
