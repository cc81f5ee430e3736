import { ArgumentError, show } from '@freelunch/errors';
import type { ByteSource } from './byte-source.js';
import { Keeper, type Open, type Wanted } from './cache/keeper.js';
import { isCommit, isRepository, parseRepository, printRepository, repositoryUrl } from './hugging-face.js';
import { Missing } from './placeholder.js';
import { fetchFile } from './remote-file.js';
import {
  checkSourceOptions,
  parseHttpUrl,
  printUrl,
  sourceOptionNames,
  type SourceOptions,
} from './source-options.js';
import type { Version } from './version.js';

/** Opens files of servers, as the options say. A file that is opened again must be what it was before. */
export function opener(options: SourceOptions): Open {
  const seen = new Map<string, Version>();
  const plain: Open = async ({ url, address }) => {
    const found = await fetchFile(url, options, seen.get(address.href));
    if (!(found instanceof Missing) && found.version !== undefined) seen.set(address.href, found.version);
    return found;
  };
  const { cache = false } = options;
  if (cache === false) return plain;
  const keeper = new Keeper(cache, options, plain);
  return (wanted) => keeper.open(wanted);
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
  const found = await opener(options)(wantedFile('urlSource', url, options));
  return found instanceof Missing ? undefined : found;
}

/** @throws ArgumentError */
function wantedFile(where: string, given: unknown, { endpoint }: SourceOptions): Wanted {
  if (!isRepository(given)) {
    const url = parseHttpUrl(where, 'url', given);
    return { url, address: url, source: printUrl(url), immutable: false };
  }
  const repository = parseRepository(where, given);
  if (repository.path === '')
    throw new ArgumentError(`${where}: url must name a file, as 'hf:owner/name/file', got ${show(given)}`);
  const url = repositoryUrl(repository, endpoint);
  const immutable = isCommit(repository.revision);
  return { url, address: url, source: printRepository(repository), immutable };
}
