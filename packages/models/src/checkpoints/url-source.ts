import { ArgumentError, show } from '@freelunch/errors';
import { type ByteSource, chunkSource } from './byte-source.js';
import { isRepository, parseRepository, repositoryUrl } from './hugging-face.js';
import { isWebPage, Missing } from './placeholder.js';
import { checkSourceOptions, parseHttpUrl, sourceOptionNames, type SourceOptions } from './source-options.js';
import { Transfer } from './transfer.js';

const PEEKED_BYTES = 64;

/** A file on a server, read as it arrives. */
export interface RemoteFile extends ByteSource {
  /** The commit of Hugging Face that it is of. */
  readonly commit?: string;
}

/**
 * A file on a server, read as it arrives, or why there is none: a status that says so, or a web page in its place.
 *
 * @throws FileError for other statuses, silence, and connections that break too often; the signal's reason once it is aborted
 */
export async function fetchFile(url: URL, options: SourceOptions = {}): Promise<RemoteFile | Missing> {
  const transfer = new Transfer(url, options);
  const outcome = await transfer.open();
  if (outcome instanceof Missing) return outcome;
  try {
    const source = chunkSource(() => transfer.receive(), transfer.size, transfer.name);
    if (isWebPage(await source.peek(PEEKED_BYTES))) {
      await transfer.close();
      return new Missing('a web page in its place');
    }
    const { name, size, read } = source;
    return { name, size, read, close: () => transfer.close(), commit: transfer.commit };
  } catch (error) {
    await transfer.close();
    throw error;
  }
}

/**
 * A file on a server, read as it arrives; `undefined` if the server has none.
 *
 * @param url `https://...`, or `hf:owner/name/file` and `hf:owner/name@revision/file`
 * @throws ArgumentError, FileError; the signal's reason once it is aborted
 */
export async function urlSource(
  url: string | URL,
  options: SourceOptions = {},
): Promise<ByteSource | undefined> {
  checkSourceOptions('urlSource', options, sourceOptionNames);
  const found = await fetchFile(fileUrl('urlSource', url, options), options);
  return found instanceof Missing ? undefined : found;
}

/** @throws ArgumentError */
function fileUrl(where: string, source: unknown, { endpoint }: SourceOptions): URL {
  if (!isRepository(source)) return parseHttpUrl(where, 'url', source);
  const repository = parseRepository(where, source);
  if (repository.path === '')
    throw new ArgumentError(`${where}: url must name a file, as 'hf:owner/name/file', got ${show(source)}`);
  return repositoryUrl(repository, endpoint);
}
