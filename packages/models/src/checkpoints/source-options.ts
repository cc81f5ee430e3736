/** Options of all that is read from servers: checkpoints, tokenizers, single files. */
import { ArgumentError, checkOptions, show } from '@freelunch/errors';
import { checkFunction, checkSignal } from '../check.js';
import { checkCache } from './cache/file-cache.js';

export interface SourceOptions {
  /** Stops the loading. */
  signal?: AbortSignal;
  /** Ends the reading with a FileError once nothing has arrived for so long; 60,000 if absent, Infinity for never. */
  timeoutMs?: number;
  /**
   * How often a broken transfer continues from where it stopped, and a request is repeated that the server is too busy
   * for: in a row, without 1 MB arriving in between. 5 if absent, 0 for never.
   */
  retries?: number;
  /** Sent with each request to the host of the source, and to no other that it redirects to. */
  headers?: Readonly<Record<string, string>>;
  /** A token of Hugging Face, for gated and private repositories: sent as `Authorization: Bearer ...`, as `headers` are. */
  token?: string;
  /** The server of `hf:owner/name`, for mirrors; `https://huggingface.co` if absent. */
  endpoint?: string | URL;
  /**
   * Keeps what is loaded from servers, and loads from there what they say has not changed: in browsers in the Cache API; in
   * Node, Deno and Bun in this folder, or for true in `freelunch/checkpoints` below XDG_CACHE_HOME, `~/.cache`,
   * `~/Library/Caches` (macOS) or `%LOCALAPPDATA%` (Windows). False if absent. `openCache` shows and clears it.
   */
  cache?: boolean | string;
  /** Told what is wrong with the cache, which does not end the loading; if absent, the runtime's warnings are used. */
  onWarning?: (message: string) => void;
}

export const sourceOptionNames = [
  'signal',
  'timeoutMs',
  'retries',
  'headers',
  'token',
  'endpoint',
  'cache',
  'onWarning',
] as const;

/** Set by the transfer itself. */
const OWN_HEADERS = new Set([
  'range',
  'if-range',
  'if-none-match',
  'if-match',
  'if-modified-since',
  'accept-encoding',
]);

/** The headers of requests to the host of a source. @throws ArgumentError, which never shows a value: it may be secret */
export function requestHeaders(where: string, { headers, token }: SourceOptions): Headers {
  let all: Headers;
  if (headers !== undefined && (typeof headers !== 'object' || headers === null))
    throw new ArgumentError(`${where}: headers must be an object of texts, got ${show(typeof headers)}`);
  for (const [name, value] of Object.entries(headers ?? {})) {
    if (typeof value !== 'string')
      throw new ArgumentError(`${where}: headers: ${show(name)} must be a text, got ${show(typeof value)}`);
    if (OWN_HEADERS.has(name.toLowerCase()))
      throw new ArgumentError(`${where}: headers must not have ${show(name)}, which the transfer sets`);
  }
  try {
    all = new Headers(headers as Record<string, string> | undefined);
  } catch {
    throw new ArgumentError(`${where}: headers must have names and values that HTTP can express`);
  }
  if (token === undefined) return all;
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token))
    throw new ArgumentError(`${where}: token must be a text of visible ASCII characters, got another`);
  if (all.has('authorization'))
    throw new ArgumentError(`${where}: token must not be given if headers have 'authorization'`);
  all.set('authorization', `Bearer ${token}`);
  return all;
}

/** @throws ArgumentError */
export function checkSourceOptions(where: string, options: SourceOptions, names?: readonly string[]): void {
  if (names !== undefined) checkOptions(where, options, names);
  const { signal, timeoutMs, retries, endpoint } = options;
  checkSignal(where, signal);
  if (timeoutMs !== undefined && !(typeof timeoutMs === 'number' && timeoutMs > 0))
    throw new ArgumentError(`${where}: timeoutMs must be a number above 0, got ${show(timeoutMs)}`);
  if (retries !== undefined && !(Number.isSafeInteger(retries) && retries >= 0))
    throw new ArgumentError(`${where}: retries must be a whole number from 0 up, got ${show(retries)}`);
  requestHeaders(where, options);
  checkCache(where, options.cache);
  checkFunction(where, 'onWarning', options.onWarning);
  if (endpoint !== undefined) parseHttpUrl(where, 'endpoint', endpoint);
}

/** @throws ArgumentError, which does not show what may be secret */
export function parseHttpUrl(where: string, name: string, given: unknown): URL {
  let url: URL | undefined;
  try {
    if (given instanceof URL || typeof given === 'string') url = new URL(given);
  } catch {
    // refused below
  }
  if (url === undefined) throw new ArgumentError(`${where}: ${name} must be a URL, got ${show(given)}`);
  if (!['http:', 'https:'].includes(url.protocol))
    throw new ArgumentError(`${where}: ${name} must be a URL of http or https, got ${show(url.protocol)}`);
  if (url.username !== '' || url.password !== '')
    throw new ArgumentError(`${where}: ${name} must be without user and password: headers can have them`);
  return url;
}

/** A URL as messages name it: its query may be a secret. */
export function printUrl(url: URL): string {
  return url.origin + url.pathname + (url.search === '' ? '' : '?...');
}
