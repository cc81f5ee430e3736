import { ArgumentError, checkOptions, FileError, show } from '@freelunch/errors';
import { checkSignal } from '../check.js';
import { type ByteSource, chunkSource } from './byte-source.js';
import { isWebPage, Missing } from './placeholder.js';

export interface UrlOptions {
  signal?: AbortSignal;
  /** Ends the reading with a FileError once nothing has arrived for so long; 60,000 if absent, Infinity for never. */
  timeoutMs?: number;
}

export const DEFAULT_TIMEOUT_MS = 60_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** Answers of servers that have no such file; some say of what is absent that it may not be seen. */
const ABSENT = new Set([401, 403, 404, 410]);
const PEEKED_BYTES = 64;

/** @throws ArgumentError */
export function checkTimeout(where: string, timeoutMs: unknown): void {
  if (timeoutMs !== undefined && !(typeof timeoutMs === 'number' && timeoutMs > 0))
    throw new ArgumentError(`${where}: timeoutMs must be a number above 0, got ${show(timeoutMs)}`);
}

/** Waits for what may never come: an abort ends it, and so does silence. */
function createPatience(name: string, { signal, timeoutMs = DEFAULT_TIMEOUT_MS }: UrlOptions) {
  const stop = new AbortController();
  const onAbort = () => stop.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  if (signal?.aborted) onAbort();
  return {
    signal: stop.signal,
    async wait<T>(work: () => Promise<T>): Promise<T> {
      let silent = false;
      const giveUp = () => {
        silent = true;
        stop.abort();
      };
      const timer = timeoutMs <= LONGEST_TIMER_MS ? setTimeout(giveUp, timeoutMs) : undefined;
      try {
        return await work();
      } catch (cause) {
        signal?.throwIfAborted();
        if (silent) throw new FileError(`${name}: nothing arrived for ${timeoutMs / 1000} s`, { cause });
        if (cause instanceof FileError) throw cause;
        const { message, cause: inner } = cause as Error; // Node says in the cause what went wrong
        throw new FileError(`${name}: cannot be read: ${inner instanceof Error ? inner.message : message}`, {
          cause,
        });
      } finally {
        clearTimeout(timer);
      }
    },
    end: () => signal?.removeEventListener('abort', onAbort),
  };
}

/**
 * A file on a server, read as it arrives, or why there is none: a status that says so, or a web page in its place.
 *
 * @throws FileError for other statuses, broken connections and silence; the signal's reason once it is aborted
 */
export async function fetchFile(url: string | URL, options: UrlOptions = {}): Promise<ByteSource | Missing> {
  const name = String(url);
  const { signal, wait, end } = createPatience(name, options);
  try {
    const response = await wait(() => fetch(url, { signal }));
    if (ABSENT.has(response.status)) {
      await response.body?.cancel();
      end();
      return new Missing(`HTTP status ${response.status}`);
    }
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      throw new FileError(`${name}: must be a file, got HTTP status ${response.status}`);
    }
    const length = Number(response.headers.get('content-length') ?? NaN);
    // Of a compressed transfer it is the length of the packed bytes; another origin hides that it is compressed.
    const known =
      Number.isSafeInteger(length) && !response.headers.has('content-encoding') && response.type !== 'cors';
    const reader = response.body.getReader();
    const source = chunkSource(() => wait(() => reader.read()), known ? length : undefined, name);
    const close = async () => {
      end();
      await reader.cancel().catch(() => {}); // it has failed already
    };
    if (isWebPage(await source.peek(PEEKED_BYTES))) {
      await close();
      return new Missing('a web page in its place');
    }
    return { name, size: source.size, read: source.read, close };
  } catch (cause) {
    end();
    throw cause;
  }
}

/**
 * A file on a server, read as it arrives; `undefined` if the server has none.
 *
 * @throws ArgumentError, FileError; the signal's reason once it is aborted
 */
export async function urlSource(
  url: string | URL,
  options: UrlOptions = {},
): Promise<ByteSource | undefined> {
  if (!(url instanceof URL) && (typeof url !== 'string' || url === ''))
    throw new ArgumentError(`urlSource: url must be a URL, got ${show(url)}`);
  checkOptions('urlSource', options, ['signal', 'timeoutMs']);
  checkSignal('urlSource', options.signal);
  checkTimeout('urlSource', options.timeoutMs);
  const found = await fetchFile(url, options);
  return found instanceof Missing ? undefined : found;
}
