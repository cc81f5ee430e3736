import { parseJson } from '@freelunch/config';
import { ArgumentError, FormatError, show, UnsupportedError } from '@freelunch/errors';
import { codeOf, hasFiles, nodeModules } from '../files/node.js';
import {
  isCommit,
  isRepository,
  parseRepository,
  printRepository,
  type Repository,
  repositoryUrl,
} from './hugging-face.js';
import { blobSource, type ByteSource, fileSource, readAll } from './byte-source.js';
import { Missing, refusePlaceholder, TELLING_BYTES } from './placeholder.js';
import { checkSourceOptions, parseHttpUrl, printUrl, type SourceOptions } from './source-options.js';
import { opener } from './url-source.js';

/**
 * Where a checkpoint's files lie: a directory (Node, Deno, Bun), a URL that they are under, in a page also one relative to
 * it such as `/models/mine/`, a repository of Hugging Face as `hf:owner/name` or `hf:owner/name@revision`, or the files themselves.
 */
export type FolderSource = string | URL | Iterable<File> | ArrayLike<File>;

/** Files by name. */
export interface Folder {
  readonly name: string;
  /** The one that a source names if it is a file and no folder: `.../model.gguf`. */
  readonly file?: string;
  open(file: string): Promise<ByteSource | Missing>;
}

/** Names of files that hold a whole model. */
const WHOLE = /^.+\.gguf$/i;
const isUrl = (text: string): boolean => /^[a-z][a-z\d+.-]*:\/\//i.test(text);

/** @throws ArgumentError if it is none of these, or for bad options */
export function openFolder(where: string, source: FolderSource, options: SourceOptions = {}): Folder {
  checkSourceOptions(where, options);
  if (isRepository(source)) return repositoryFolder(parseRepository(where, source), options);
  if (source instanceof URL || (typeof source === 'string' && isUrl(source))) {
    if (!/^file:/i.test(String(source))) return urlFolder(parseHttpUrl(where, 'source', source), options);
    return directory(where, decode(String(source)), async () => {
      try {
        return (await nodeModules()).url.fileURLToPath(source);
      } catch (cause) {
        throw new ArgumentError(
          `${where}: source must be the URL of a directory, got ${show(String(source))}`,
          { cause },
        );
      }
    });
  }
  const page = hasFiles() || typeof source !== 'string' || source === '' ? undefined : inPage(source);
  if (page !== undefined) return urlFolder(parseHttpUrl(where, 'source', page), options);
  if (typeof source === 'string' && source !== '') return directory(where, source, async () => source);
  if (typeof source === 'object' && source !== null && (Symbol.iterator in source || 'length' in source)) {
    const files = Array.from(source as Iterable<File>);
    if (files.length > 0 && files.every((file) => file instanceof Blob && typeof file.name === 'string'))
      return fileSet(files);
  }
  throw new ArgumentError(
    `${where}: source must be a directory's path, a URL, 'hf:owner/name' or Files, got ${show(source)}`,
  );
}

/** A relative URL as pages and their workers read it; undefined where there is no address that it is relative to. */
function inPage(source: string): string | undefined {
  const { document, location } = globalThis as {
    document?: { baseURI: string };
    location?: { href: string };
  };
  const from = document?.baseURI ?? location?.href;
  return from !== undefined && /^https?:/.test(from) && URL.canParse(source, from)
    ? new URL(source, from).href
    : undefined;
}

function urlFolder(base: URL, options: SourceOptions): Folder {
  const open = opener(options);
  const folder = new URL(base);
  let file: string | undefined;
  if (WHOLE.test(base.pathname)) {
    const start = base.pathname.lastIndexOf('/') + 1;
    file = decode(base.pathname.slice(start));
    folder.pathname = base.pathname.slice(0, start);
  } else if (!folder.pathname.endsWith('/')) folder.pathname += '/';
  return {
    name: printUrl(base),
    file,
    open: (name) => {
      const url = new URL(encodeURIComponent(name), folder);
      url.search = base.search; // `new URL` drops what may be a token
      return open({ url, address: url, source: printUrl(url), immutable: false });
    },
  };
}

/** The name that a part of a URL stands for. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Once the server has said which commit a branch is at, all else is read from that commit: branches move. */
function repositoryFolder(repository: Repository, options: SourceOptions): Folder {
  const open = opener(options);
  const { name, revision } = repository;
  let commit = revision;
  const parts = repository.path.split('/');
  const file = WHOLE.test(parts.at(-1)!) ? parts.pop() : undefined;
  const path = parts
    .filter((part) => part !== '')
    .map((part) => `${part}/`)
    .join('');
  return {
    name: printRepository(repository),
    file,
    async open(file) {
      const wanted = { name, revision, path: path + file };
      const found = await open({
        url: repositoryUrl({ ...wanted, revision: commit }, options.endpoint),
        address: repositoryUrl(wanted, options.endpoint),
        source: printRepository(wanted),
        immutable: isCommit(revision),
      });
      if (!(found instanceof Missing) && found.commit !== undefined && isCommit(found.commit))
        commit = found.commit;
      return found;
    },
  };
}

function directory(where: string, source: string, path: () => Promise<string>): Folder {
  if (!hasFiles())
    throw new UnsupportedError(`${where}: source must be a URL or Files in this runtime, got a path`);
  const [, file] = /(?:^|[/\\])([^/\\]+\.gguf)$/i.exec(source) ?? [];
  const open = async (name: string) => {
    const { path: paths } = await nodeModules();
    const found = await path();
    try {
      return await fileSource(paths.join(file === undefined ? found : paths.dirname(found), name));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return new Missing();
      throw error;
    }
  };
  return { name: 'directory', file, open };
}

/** Levels that a file lies below the directory that a user chose. */
const depthOf = (file: File): number => (file.webkitRelativePath ?? '').split('/').length;

function fileSet(files: readonly File[]): Folder {
  const [first] = files;
  return {
    name: 'files',
    file: files.length === 1 && WHOLE.test(first.name) ? first.name : undefined,
    async open(name) {
      const found = files.filter((file) => file.name === name);
      // Folders of checkpoints have others within, for other programs: theirs lie deeper.
      const top = Math.min(...found.map(depthOf));
      const [file, ...others] = found.filter((candidate) => depthOf(candidate) === top);
      if (others.length > 0)
        throw new FormatError(`files: must hold ${name} once, got it ${others.length + 1} times`);
      return file === undefined ? new Missing() : blobSource(file);
    },
  };
}

/** A JSON file of a folder, if it is there. @throws FormatError if it is longer than `maximumBytes`, or no JSON */
export async function readJson(folder: Folder, file: string, maximumBytes: number): Promise<unknown> {
  const source = await folder.open(file);
  if (source instanceof Missing) return source;
  try {
    const bytes = await readAll(source, maximumBytes);
    refusePlaceholder(bytes.subarray(0, TELLING_BYTES), source.name);
    return parseJson(new TextDecoder().decode(bytes), source.name);
  } finally {
    await source.close();
  }
}
