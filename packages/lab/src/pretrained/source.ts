/** Where a model comes from, as commands name it, and what is said if it cannot be had from there. */
import { stat } from 'node:fs/promises';
import {
  ArgumentError,
  FormatError,
  OutOfMemoryError,
  ShapeError,
  show,
  UnsupportedError,
} from '@freelunch/errors';
import type { SourceOptions } from '@freelunch/models';
import { flag, text } from '../commands/shared.js';
import type { Terminal } from '../commands/terminal.js';
import { InputError } from '../errors.js';
import { hubOptions } from '../files/model-config.js';

export const sourceHelp = `A MODEL is a folder with config.json and model.safetensors (or its shards), a .gguf
file, the URL of either, or hf:OWNER/NAME, hf:OWNER/NAME@REVISION or
hf:OWNER/NAME/FILE.gguf (from HF_ENDPOINT, if that is set).`;

export const sourceOptionsHelp = `  --cache           keep what is loaded from servers, and use it again; below
                    XDG_CACHE_HOME, or where this system keeps caches
  --token TOKEN     for gated and private repositories; HF_TOKEN if absent, for hf:
                    alone. It is never shown`;

export const sourceFlags = { cache: flag, token: text } as const;

const isRemote = (source: string) => /^[a-z][a-z\d+.-]*:\/\//i.test(source) || source.startsWith('hf:');

/** @throws InputError where a path leads to nothing that could be a model */
export async function checkSource(source: string): Promise<void> {
  if (source === '') throw new InputError('the name of the model is empty');
  if (isRemote(source)) return;
  const found = source.includes('\0') ? undefined : await stat(source).catch(() => undefined);
  if (found === undefined) {
    const repository = /^[\w.-]+\/[\w.-]+$/.test(source) ? `hf:${source}` : 'hf:OWNER/NAME';
    throw new InputError(
      `${show(source)} does not exist; a repository of Hugging Face is named ${repository}`,
    );
  }
  if (!found.isDirectory() && !(found.isFile() && /\.gguf$/i.test(source)))
    throw new InputError(`${show(source)} must be a folder or a .gguf file`);
}

/** What servers are told, for a source of its kind: HF_TOKEN goes to no other server than that of `hf:`. */
export function optionsOf(
  source: string,
  { cache, token }: { cache: boolean; token?: string },
  { signal, note, bar }: Terminal,
): SourceOptions {
  return {
    ...(source.startsWith('hf:') && hubOptions()),
    ...(token !== undefined && { token }),
    cache,
    signal,
    onWarning(message) {
      bar.clear();
      note(`${message}\n`);
    },
  };
}

/** What models say about a file or an option is for the user, in one line that names the source. */
export async function understood<T>(source: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const isInput = [FormatError, UnsupportedError, ArgumentError, ShapeError, OutOfMemoryError].some(
      (kind) => cause instanceof kind,
    );
    if (!isInput) throw cause;
    const message = (cause as Error).message.replace(/\s*\n\s*/g, ' ');
    const remedy = cause instanceof OutOfMemoryError ? '; --dtype int8 or int4 takes less' : '';
    throw new InputError(`${show(source)}: ${message}${remedy}`, { cause });
  }
}
