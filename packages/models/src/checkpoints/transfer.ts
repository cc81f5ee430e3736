/**
 * One file on its way from a server. A transfer that breaks continues from where it stopped: by a Range where the server
 * has them, else by reading again and dropping what is there already; in either case only if the server says that the
 * content is still the same.
 */
import { FileError } from '@freelunch/errors';
import { hasFiles } from '../files/node.js';
import { Missing } from './placeholder.js';
import { drop, Interrupted, Patience, request } from './request.js';
import { printUrl, requestHeaders, type SourceOptions } from './source-options.js';
import { isNamed, isSame, printVersion, type Version } from './version.js';

/** Answers of servers that have no such file; some say of what is absent that it may not be seen. */
const ABSENT = new Set([401, 403, 404, 410]);
const DEFAULT_RETRIES = 5;
/** A server that never answered is hardly there. */
const UNANSWERED_RETRIES = 2;
/** What must arrive for a transfer to count as one that gets on. */
const PROGRESS_BYTES = 1_000_000;

/** What a content-range says. */
function parseRange(text: string | null): { start: number; total: number | undefined } | undefined {
  const [, start, total] = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(text?.trim() ?? '') ?? [];
  return start === undefined
    ? undefined
    : { start: Number(start), total: total === '*' ? undefined : Number(total) };
}

function lengthOf(response: Response): number | undefined {
  const text = response.headers.get('content-length') ?? '';
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Whether the page's own server is asked: another one must allow conditional requests, and most do not. */
const mayAskIf = (url: URL): boolean =>
  hasFiles() || (globalThis.location as Location | undefined)?.origin === url.origin;

function absence(status: number, hasToken: boolean): Missing {
  if (status !== 401 && status !== 403) return new Missing(`HTTP status ${status}`, true);
  return new Missing(
    `HTTP status ${status}${hasToken ? ' to the token or headers given' : '; if it is gated or private, give a token'}`,
  );
}

export interface TransferOptions extends SourceOptions {
  /** Passed on to `fetch`, in browsers: whether they may keep a copy of their own. */
  httpCache?: RequestCache;
}

export class Transfer {
  readonly name: string;
  readonly #url: URL;
  readonly #secrets: Headers;
  readonly #options: TransferOptions;
  readonly #patience: Patience;
  #retries: number;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  /** Bytes handed out. */
  #position: number;
  /** Bytes that come again and are dropped. */
  #again = 0;
  /** What the first answer said; later ones must say the same. */
  #version: Version | undefined;
  /** Whether to continue by a Range; else all is sent again. */
  #byRange = true;
  #failures = 0;
  #progress = 0;
  commit: string | undefined;

  /**
   * @param position where to begin
   * @param version  the content that it must be; needed where `position` is not 0
   */
  constructor(url: URL, options: TransferOptions, position = 0, version?: Version) {
    this.name = printUrl(url);
    this.#url = url;
    this.#secrets = requestHeaders('fetch', options);
    this.#options = options;
    this.#patience = new Patience(this.name, options);
    this.#retries = options.retries ?? DEFAULT_RETRIES;
    this.#position = position;
    this.#version = version;
    this.#byRange = version?.packed !== 'yes';
  }

  /** What the server says of the content. */
  get version(): Version {
    return this.#version ?? {};
  }

  /** In bytes; undefined if the server does not say, or if what it says may be the length of compressed bytes. */
  get size(): number | undefined {
    return (this.#version?.packed ?? 'no') === 'no' ? this.#version?.length : undefined;
  }

  /**
   * Asks for the file, again and again if need be.
   *
   * @param known   a content that is here already: `unchanged` if it is that
   * @param retries how often; as the options say if absent
   * @throws FileError, the signal's reason
   */
  async open(known?: Version, retries = this.#retries): Promise<Missing | 'open' | 'unchanged'> {
    const later = this.#retries;
    this.#retries = retries;
    try {
      return await this.#insist(() => this.#connect(known));
    } catch (error) {
      this.#patience.end();
      throw error;
    } finally {
      this.#retries = later;
    }
  }

  /** The next bytes. @throws FileError if the server does not have that content any more, or tries are used up */
  receive(): Promise<{ done: boolean; value?: Uint8Array }> {
    return this.#insist(async () => {
      for (;;) {
        if (this.#reader === undefined) {
          const outcome = await this.#connect();
          if (outcome instanceof Missing)
            throw new FileError(`${this.name}: is there no more (${outcome.reason})`);
        }
        const reader = this.#reader!;
        const { done, value } = await this.#patience.wait(() => reader.read());
        if (done) {
          const { size } = this;
          if (size !== undefined && this.#position < size)
            throw new Interrupted(`${this.name}: file must have ${size} bytes, ends at ${this.#position}`);
          return { done };
        }
        const fresh = value.subarray(Math.min(this.#again, value.length));
        this.#again -= value.length - fresh.length;
        if (fresh.length === 0) continue;
        this.#position += fresh.length;
        this.#progress += fresh.length;
        if (this.#progress >= PROGRESS_BYTES) this.#failures = 0;
        return { done, value: fresh };
      }
    });
  }

  async close(): Promise<void> {
    this.#patience.end();
    await this.#reader?.cancel().catch(() => {}); // it has failed already
  }

  /** Does what may be interrupted, until it is done or tries are used up. */
  async #insist<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        await this.#reader?.cancel().catch(() => {}); // it has failed already
        this.#reader = undefined;
        if (!(error instanceof Interrupted)) throw error;
        const isThere = error.answered || this.#position > 0;
        if (this.#failures >= Math.min(this.#retries, isThere ? Infinity : UNANSWERED_RETRIES)) throw error;
        if (this.#position > 0 && !isNamed(this.version))
          throw new FileError(
            `${error.message}; it cannot continue at byte ${this.#position}: the server gives neither ETag nor Last-Modified, by which a changed file would be noticed`,
            { cause: error },
          );
        this.#failures++;
        this.#progress = 0;
        await this.#patience.pause(error, this.#failures);
      }
    }
  }

  async #connect(known?: Version): Promise<Missing | 'open' | 'unchanged'> {
    const ranged = this.#position > 0 && this.#byRange;
    const headers: Record<string, string> = {};
    if (ranged) headers.range = `bytes=${this.#position}-`;
    if (known?.etag !== undefined && mayAskIf(this.#url)) headers['if-none-match'] = known.etag;
    const isKnown = (linked: string) => known !== undefined && isSame(known, { etag: linked });
    const { httpCache } = this.#options;
    const answer = await request(this.#url, this.#secrets, headers, this.#patience, isKnown, httpCache);
    const { response, linkedEtag, commit } = answer;
    this.commit = commit;
    const { status } = response;
    if (known !== undefined && (status === 304 || (status >= 300 && status < 400))) {
      await drop(response);
      this.#patience.end();
      return 'unchanged';
    }
    if (ABSENT.has(status)) {
      await drop(response);
      this.#patience.end();
      return absence(status, !this.#secrets.keys().next().done);
    }
    if (ranged && status === 416) {
      await drop(response);
      throw new FileError(`${this.name}: changed while it was read: it ends before byte ${this.#position}`);
    }
    if ((status !== 200 && !(ranged && status === 206)) || response.body === null) {
      await drop(response);
      throw new FileError(`${this.name}: must be a file, got HTTP status ${status}`);
    }
    const range = status === 206 ? parseRange(response.headers.get('content-range')) : undefined;
    const sent = lengthOf(response);
    const rest = sent === undefined ? undefined : this.#position + sent;
    const version: Version = {
      etag: linkedEtag ?? response.headers.get('etag') ?? undefined,
      modified: response.headers.get('last-modified') ?? undefined,
      length: status === 206 ? (range?.total ?? rest) : sent,
    };
    if (known !== undefined && isSame(known, version)) {
      await drop(response);
      this.#patience.end();
      return 'unchanged';
    }
    const packed = response.headers.has('content-encoding');
    try {
      this.#check(version, status === 206, packed, range?.start);
    } catch (error) {
      await drop(response);
      throw error;
    }
    if (this.#version === undefined) {
      // Of a compressed transfer the length is that of the packed bytes; another origin hides that it is compressed.
      const hidden = response.type === 'cors' ? 'unknown' : 'no';
      this.#version = { ...version, packed: packed ? 'yes' : hidden };
      this.#byRange = !packed;
    }
    this.#again = status === 206 ? 0 : this.#position;
    this.#reader = response.body.getReader();
    return 'open';
  }

  /** @throws FileError unless an answer continues what is here; Interrupted if one without a Range might */
  #check(version: Version, partial: boolean, packed: boolean, start: number | undefined): void {
    const before = this.#version;
    if (before === undefined) return;
    if (this.#position === 0 && !isNamed(before) && before.length === version.length) return; // nothing is here yet
    if (!isSame(before, version))
      throw new FileError(
        `${this.name}: changed while it was read: it was ${printVersion(before)}, is ${printVersion(version)}`,
      );
    if (!partial) return;
    const { length } = before;
    // Where a page may not see that a transfer is compressed, it is one if lengths do not fit.
    const fits =
      !packed &&
      (start === undefined || start === this.#position) &&
      (length === undefined ? before.packed === 'no' && start !== undefined : length === version.length);
    if (fits) return;
    this.#byRange = false;
    throw new Interrupted(
      `${this.name}: must continue at byte ${this.#position} of ${length ?? 'unknown'}, continues at ${start ?? 'unknown'} of ${version.length ?? 'unknown'}`,
    );
  }
}
