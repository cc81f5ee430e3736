import { ArgumentError, FormatError, UnsupportedError } from '@freelunch/kernels';
import { blobSource, type ByteSource, fileSource, urlSource } from './byte-source.js';
import { parseJson } from './json.js';

/** Where a checkpoint's files lie: a directory (Node, Deno, Bun), a URL that they are under, or the files themselves. */
export type FolderSource = string | URL | Iterable<File> | ArrayLike<File>;

/** Files by name. */
export interface Folder {
  readonly name: string;
  /** @returns undefined if there is no such file */
  open(file: string): Promise<ByteSource | undefined>;
}

/** @throws ArgumentError if it is none of the three */
export function openFolder(where: string, source: FolderSource, signal?: AbortSignal): Folder {
  if (source instanceof URL || (typeof source === 'string' && /^[a-z]+:\/\//i.test(source))) {
    const url = new URL(source);
    if (url.protocol !== 'file:') return urlFolder(url, signal);
    return directory(where, async () =>
      (await import(/* @vite-ignore */ nodeModule('url'))).fileURLToPath(url),
    );
  }
  if (typeof source === 'string' && source !== '') return directory(where, async () => source);
  if (typeof source === 'object' && source !== null) {
    const files = Array.from(source as Iterable<File>);
    if (files.length > 0 && files.every((file) => file instanceof Blob && typeof file.name === 'string'))
      return fileSet(files);
  }
  throw new ArgumentError(
    `${where}: source must be a directory's path, a URL or Files, got ${String(source)}`,
  );
}

/** Named at run time: bundlers for browsers must not follow it. */
export const nodeModule = (name: string): string => `node:${name}`;

function urlFolder(base: URL, signal?: AbortSignal): Folder {
  const folder = new URL(base);
  if (!folder.pathname.endsWith('/')) folder.pathname += '/';
  return {
    name: String(base),
    open: (file) => {
      const url = new URL(file, folder);
      url.search = base.search; // `new URL` drops what may be a token
      return urlSource(url, signal);
    },
  };
}

function directory(where: string, path: () => Promise<string>): Folder {
  if (!('process' in globalThis || 'Deno' in globalThis))
    throw new UnsupportedError(`${where}: source must be a URL or Files in this runtime, got a path`);
  const open = async (file: string) => {
    const { join } = await import(/* @vite-ignore */ nodeModule('path'));
    try {
      return await fileSource(join(await path(), file));
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ENOENT') return undefined;
      throw error;
    }
  };
  return { name: 'directory', open };
}

/** Levels that a file lies below the directory that a user chose. */
const depthOf = (file: File): number => (file.webkitRelativePath ?? '').split('/').length;

function fileSet(files: readonly File[]): Folder {
  return {
    name: 'files',
    async open(name) {
      const found = files.filter((file) => file.name === name);
      // Folders of checkpoints have others within, for other programs: theirs lie deeper.
      const top = Math.min(...found.map(depthOf));
      const [file, ...others] = found.filter((candidate) => depthOf(candidate) === top);
      if (others.length > 0)
        throw new FormatError(`files: must hold ${name} once, got it ${others.length + 1} times`);
      return file === undefined ? undefined : blobSource(file);
    },
  };
}

/** A JSON file of a folder, `undefined` if it is not there. @throws FormatError if it is longer than `maximumBytes` */
export async function readJson(folder: Folder, file: string, maximumBytes: number): Promise<unknown> {
  const source = await folder.open(file);
  if (source === undefined) return undefined;
  try {
    if (source.size > maximumBytes)
      throw new FormatError(`${source.name}: file must be at most ${maximumBytes} bytes, got ${source.size}`);
    return parseJson(new TextDecoder().decode(await source.read(0, source.size)), source.name);
  } finally {
    await source.close();
  }
}
