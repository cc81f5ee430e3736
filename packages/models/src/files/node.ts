import { FileError, UnsupportedError } from '@freelunch/errors';

/** The modules of Node that files need. */
export interface NodeModules {
  fs: typeof import('node:fs/promises');
  path: typeof import('node:path');
  os: typeof import('node:os');
  url: typeof import('node:url');
}

let loaded: Promise<NodeModules> | undefined;

/** Named at run time: bundlers for browsers must not follow it. */
const load = async (): Promise<NodeModules> => {
  const [fs, path, os, url] = await Promise.all(
    ['fs/promises', 'path', 'os', 'url'].map(
      (name) => import(/* @vite-ignore */ /* webpackIgnore: true */ `node:${name}`),
    ),
  );
  return { fs, path, os, url };
};

/** Whether there is a file system: in Node, Deno and Bun. Bundlers give pages a `process` that has no versions. */
export function hasFiles(): boolean {
  const { process } = globalThis as { process?: { versions?: { node?: unknown } } };
  return typeof process?.versions?.node === 'string' || 'Deno' in globalThis;
}

/** @throws UnsupportedError in browsers */
export function nodeModules(): Promise<NodeModules> {
  if (!hasFiles()) throw new UnsupportedError('files: a runtime with a file system is needed, such as Node');
  return (loaded ??= load());
}

/** The code of an error of the file system, such as `ENOENT`. */
export const codeOf = (error: unknown): string | undefined => {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'string' ? code : undefined;
};

/** What the file system throws as a FileError; anything else as it is. */
export function fileError(cause: unknown, path: string, what: string): unknown {
  if (cause instanceof FileError || (cause as { syscall?: unknown } | undefined)?.syscall === undefined)
    return cause;
  return new FileError(`${path}: ${what}: ${(cause as Error).message}`, { cause });
}
