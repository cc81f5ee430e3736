/** Where a model comes from: a folder of files, or one GGUF file. */
import { FormatError } from '@freelunch/errors';
import { blobSource, type ByteSource } from './byte-source.js';
import { type Folder, type FolderSource, openFolder } from './folder.js';
import { Missing } from './placeholder.js';
import { checkSourceOptions, type SourceOptions } from './source-options.js';

/** A folder, or a GGUF file: by its name where it has one, else as a Blob or a source of bytes. */
export type ModelSource = FolderSource | Blob | ByteSource;

const isByteSource = (source: unknown): source is ByteSource =>
  typeof (source as Partial<ByteSource> | null | undefined)?.read === 'function';

/**
 * Opens what a source names.
 *
 * @returns a folder, or a file with what closes it: a source of bytes stays open for whoever made it
 * @throws ArgumentError for bad sources and options, FormatError if a file is not there, FileError
 */
export async function openSource(
  where: string,
  source: ModelSource,
  options: SourceOptions,
): Promise<{ folder: Folder; file?: undefined } | { file: ByteSource; close: () => Promise<void> }> {
  if (source instanceof Blob || isByteSource(source)) {
    checkSourceOptions(where, options);
    options.signal?.throwIfAborted();
    return { file: source instanceof Blob ? blobSource(source) : source, close: async () => {} };
  }
  const folder = openFolder(where, source, options);
  options.signal?.throwIfAborted();
  if (folder.file === undefined) return { folder };
  const file = await folder.open(folder.file);
  if (file instanceof Missing)
    throw new FormatError(`${folder.name}: must hold ${folder.file}, got ${file.reason}`);
  return { file, close: () => file.close() };
}
