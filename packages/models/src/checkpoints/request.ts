/** Requests for files: time limits, redirects that keep secrets, and what is worth another try. */
import { FileError } from '@freelunch/errors';
import { hasFiles } from '../files/node.js';
import { printUrl, type SourceOptions } from './source-options.js';

const DEFAULT_TIMEOUT_MS = 60_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const MOST_REDIRECTS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** Answers of servers that may give another one later. */
const BUSY = new Set([408, 425, 429, 500, 502, 503, 504]);
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;

/** A failure that may not happen again. */
export class Interrupted extends FileError {
  /** What the server asks to wait. */
  readonly waitMs: number;
  /** Whether the server has answered. */
  readonly answered: boolean;

  constructor(message: string, options: ErrorOptions & { waitMs?: number; answered?: boolean } = {}) {
    super(message, options);
    this.waitMs = options.waitMs ?? 0;
    this.answered = options.answered ?? true;
  }
}

/** Nothing arrived for as long as the user is ready to wait. */
export class Silence extends FileError {}

/** Waits for what may never come: an abort ends it, and so does silence. */
export class Patience {
  readonly name: string;
  readonly #stop = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #onAbort: () => void;
  readonly timeoutMs: number;

  constructor(name: string, { signal, timeoutMs = DEFAULT_TIMEOUT_MS }: SourceOptions) {
    this.name = name;
    this.timeoutMs = timeoutMs;
    this.#outer = signal;
    this.#onAbort = () => this.#stop.abort(signal?.reason);
    signal?.addEventListener('abort', this.#onAbort);
    if (signal?.aborted) this.#onAbort();
  }

  /** Aborts the transfer; to be given to `fetch`. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** @throws Silence; the signal's reason; Interrupted for all that the network does */
  async wait<T>(work: () => Promise<T>, answered = true): Promise<T> {
    let silent = false;
    const giveUp = () => {
      silent = true;
      this.#stop.abort();
    };
    const timer = this.timeoutMs <= LONGEST_TIMER_MS ? setTimeout(giveUp, this.timeoutMs) : undefined;
    try {
      return await work();
    } catch (cause) {
      this.#outer?.throwIfAborted();
      if (silent)
        throw new Silence(`${this.name}: nothing arrived for ${this.timeoutMs / 1000} s`, { cause });
      if (cause instanceof FileError) throw cause;
      const { message, cause: inner } = cause as Error; // Node says in the cause what went wrong
      throw new Interrupted(
        `${this.name}: cannot be read: ${inner instanceof Error ? inner.message : message}`,
        { cause, answered },
      );
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Lets time pass before another try: longer each time, with a random part, so that many who were cut off together do
   * not come back together.
   *
   * @throws the failure itself if the server asks to wait longer than may pass without anything arriving
   */
  async pause(failure: Interrupted, failures: number): Promise<void> {
    if (failure.waitMs > this.timeoutMs)
      throw new FileError(`${failure.message}; it asks to wait ${Math.ceil(failure.waitMs / 1000)} s`, {
        cause: failure,
      });
    const most = Math.min(FIRST_WAIT_MS * 2 ** (failures - 1), LONGEST_WAIT_MS, this.timeoutMs);
    const chance = crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32; // a seed would make all wait alike
    const ms = Math.min(Math.max(failure.waitMs, most * (0.5 + chance / 2)), LONGEST_TIMER_MS);
    const signal = this.#outer;
    await new Promise<void>((resolve, reject) => {
      const done = () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
      const timer = setTimeout(done, ms);
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal!.reason);
      };
      if (signal?.aborted) onAbort();
      else signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  end(): void {
    this.#outer?.removeEventListener('abort', this.#onAbort);
  }
}

/** What a server asks to wait, in ms. */
function retryAfter(response: Response): number {
  const text = response.headers.get('retry-after')?.trim() ?? '';
  if (/^\d+$/.test(text)) return 1000 * Number(text);
  const at = text === '' ? NaN : Date.parse(text);
  return Number.isNaN(at) ? 0 : Math.max(0, at - Date.now());
}

/** Takes no more of an answer. */
export async function drop(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => {}); // it has failed already
}

export interface Answer {
  response: Response;
  /** What Hugging Face says of a file before it redirects to where it lies: its digest, and the commit it is of. */
  linkedEtag?: string;
  commit?: string;
}

/**
 * Asks for a file. Where redirects can be seen, that is not in browsers, they are followed here, and `secrets` go to the
 * origin of `url` alone. Browsers follow them themselves, and let only `Authorization` end at the origin.
 *
 * @param headers   sent everywhere
 * @param isKnown   whether what the origin says before it redirects is enough: the redirect is the answer then
 * @throws Interrupted for statuses and failures that may pass, FileError, the signal's reason
 */
export async function request(
  url: URL,
  secrets: Headers,
  headers: Readonly<Record<string, string>>,
  patience: Patience,
  isKnown: (linkedEtag: string) => boolean = () => false,
  cache?: RequestCache,
): Promise<Answer> {
  let at = url;
  let home = true;
  let linkedEtag: string | undefined;
  let commit: string | undefined;
  let redirect: RequestRedirect = hasFiles() ? 'manual' : 'follow';
  for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
    const sent = new Headers(home ? secrets : undefined);
    for (const [name, value] of Object.entries(headers)) sent.set(name, value);
    const { signal } = patience;
    let response = await patience.wait(() => fetch(at, { headers: sent, redirect, signal, cache }), false);
    if (response.type === 'opaqueredirect') {
      redirect = 'follow'; // a browser after all, such as Electron's
      response = await patience.wait(() => fetch(at, { headers: sent, redirect, signal, cache }), false);
    }
    if (home && (response.url === '' || new URL(response.url).origin === url.origin)) {
      linkedEtag ??= response.headers.get('x-linked-etag') ?? undefined;
      commit ??= response.headers.get('x-repo-commit') ?? undefined;
    }
    const { status } = response;
    if (BUSY.has(status)) {
      await drop(response);
      throw new Interrupted(`${patience.name}: must be a file, got HTTP status ${status}`, {
        waitMs: retryAfter(response),
      });
    }
    const known = linkedEtag !== undefined && isKnown(linkedEtag);
    if (!REDIRECTS.has(status) || known) return { response, linkedEtag, commit };
    await drop(response);
    const location = response.headers.get('location') ?? '';
    const next = URL.canParse(location, at) ? new URL(location, at) : undefined;
    if (next === undefined || !['http:', 'https:'].includes(next.protocol))
      throw new FileError(`${patience.name}: redirects to what is no URL of http or https`);
    home &&= next.origin === url.origin;
    at = next;
  }
  throw new FileError(
    `${patience.name}: redirects more than ${MOST_REDIRECTS} times, at last to ${printUrl(at)}`,
  );
}
