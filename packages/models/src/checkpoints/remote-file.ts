import { type ByteSource, chunkSource } from './byte-source.js';
import { isWebPage, Missing } from './placeholder.js';
import type { Version } from './version.js';
import { Transfer, type TransferOptions } from './transfer.js';

const PEEKED_BYTES = 64;

/** A file on a server, read as it arrives. */
export interface RemoteFile extends ByteSource {
  /** The commit of Hugging Face that it is of. */
  readonly commit?: string;
  /** What the server says of its content. */
  readonly version?: Version;
}

/**
 * A file on a server, read as it arrives, or why there is none: a status that says so, or a web page in its place.
 *
 * @param version the content that it must be; any if absent
 * @throws FileError if it is another content, for other statuses, silence, and connections that break too often; the signal's reason once it is aborted
 */
export async function fetchFile(
  url: URL,
  options: TransferOptions,
  version?: Version,
): Promise<RemoteFile | Missing> {
  const transfer = new Transfer(url, options, 0, version);
  const outcome = await transfer.open();
  return outcome instanceof Missing ? outcome : readTransfer(transfer);
}

/** What an open transfer brings. */
export async function readTransfer(transfer: Transfer): Promise<RemoteFile | Missing> {
  try {
    const source = chunkSource(() => transfer.receive(), transfer.size, transfer.name);
    if (isWebPage(await source.peek(PEEKED_BYTES))) {
      await transfer.close();
      return new Missing('a web page in its place');
    }
    const { name, size, read } = source;
    const { commit, version } = transfer;
    return { name, size, read, close: () => transfer.close(), commit, version };
  } catch (error) {
    await transfer.close();
    throw error;
  }
}
