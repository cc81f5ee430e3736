/** The cache as a loading uses it. It never makes a loading fail: what is wrong with it is said as a warning. */
import { UnsupportedError } from '@freelunch/errors';
import { hasFiles } from '../../files/node.js';
import { Missing } from '../placeholder.js';
import { Interrupted, Silence } from '../request.js';
import { printUrl, type SourceOptions } from '../source-options.js';
import { Transfer, type TransferOptions } from '../transfer.js';
import { readTransfer, type RemoteFile } from '../remote-file.js';
import { isNamed, type Version } from '../version.js';
import { type About, ABOUT, digestOf, isComplete, parseAbout, piecesOf, versionId } from './about.js';
import { type Access, KeptFile } from './kept-file.js';
import { openStore } from './open-store.js';
import type { Store } from './store.js';

export interface Wanted {
  /** Where to ask for it. */
  url: URL;
  /** Where it lies, whatever commit is asked for: the cache keeps it under this address, without its query. */
  address: URL;
  /** As users name it. */
  source: string;
  /** Whether what lies there never changes. */
  immutable: boolean;
}

export type Open = (wanted: Wanted) => Promise<RemoteFile | Missing>;

const emitWarning = (message: string): void => {
  if (hasFiles()) process.emitWarning(message);
  else console.warn(message);
};

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

export class Keeper {
  readonly #options: TransferOptions;
  readonly #onWarning: (message: string) => void;
  readonly #place: true | string;
  readonly #plain: Open;
  #store: Promise<Store | undefined> | undefined;
  #full = false;
  /** Whether the server was asked in vain. */
  #alone = false;
  /** What was opened: it must be the same when it is opened again. */
  readonly #opened = new Map<string, { about: About; pieces: Set<number> }>();
  readonly #said = new Set<string>();

  /** @param plain opens a file without a cache */
  constructor(place: true | string, options: SourceOptions, plain: Open) {
    this.#place = place;
    this.#plain = plain;
    // A browser would keep a second copy.
    this.#options = { ...options, httpCache: 'no-store' };
    this.#onWarning = options.onWarning ?? emitWarning;
  }

  /**
   * A file from the cache if the server says that it has not changed, or cannot be asked; else from the server, kept.
   *
   * @throws what reading from the server throws
   */
  async open(wanted: Wanted): Promise<RemoteFile | Missing> {
    const store = await (this.#store ??= this.#openStore());
    if (store === undefined) return this.#plain(wanted);
    const { address, url } = wanted;
    const group = digestOf(address.origin + address.pathname);
    const keep = (about: About, pieces: Set<number>, commit?: string, transfer?: Transfer) => {
      this.#opened.set(group, { about, pieces });
      const access = this.#access(store, group, wanted, about.version!, pieces);
      return new KeptFile(printUrl(address), about, access, commit, transfer);
    };
    const before = this.#opened.get(group);
    if (before !== undefined) return keep(before.about, before.pieces);
    const query = digestOf(address.search);
    const about = await this.#about(store, group);
    const known = about?.version;
    const pieces = known === undefined ? new Set<number>() : await this.#pieces(store, group, known);
    const complete = known !== undefined && isComplete(about!.size, pieces);
    const absent = about?.missing === undefined ? undefined : new Missing(about.missing, true);
    const here = () => absent ?? keep(about!, pieces);
    const usable = (complete || absent !== undefined) && about!.query === query;
    if (usable && (wanted.immutable || this.#alone)) return here();

    const transfer = new Transfer(url, this.#options);
    let outcome: Awaited<ReturnType<Transfer['open']>>;
    try {
      outcome = await transfer.open(known, usable ? 0 : undefined);
    } catch (error) {
      if (!usable || !(error instanceof Interrupted || error instanceof Silence)) throw error;
      this.#alone = true;
      this.#warn(`${error.message}; what the cache has is used, which may have changed since`);
      return here();
    }
    if (outcome instanceof Missing) {
      if (outcome.gone && absent?.reason !== outcome.reason)
        await this.#put(store, group, { source: wanted.source, query, missing: outcome.reason });
      return outcome;
    }
    const { commit, version } = transfer;
    if (outcome === 'unchanged') return keep(about!, pieces, commit);
    if (!isNamed(version)) {
      this.#warn(
        `${transfer.name}: cannot be cached: the server gives neither ETag nor Last-Modified, by which a changed file would be noticed`,
      );
      return readTransfer(transfer);
    }
    const fresh = { source: wanted.source, query, size: transfer.size, version };
    const file = keep(fresh, await this.#pieces(store, group, version), commit, transfer);
    try {
      if (!(await file.isWebPage())) return file;
    } catch (error) {
      await file.close();
      throw error;
    }
    await file.close();
    this.#opened.delete(group);
    return new Missing('a web page in its place');
  }

  async #openStore(): Promise<Store | undefined> {
    try {
      return await openStore(this.#place);
    } catch (error) {
      if (!(error instanceof UnsupportedError)) throw error;
      this.#warn(`${error.message}; loading goes on without a cache`);
      return undefined;
    }
  }

  /** Says a thing once. */
  #warn(message: string): void {
    if (this.#said.has(message)) return;
    this.#said.add(message);
    this.#onWarning(message);
  }

  /** Does what a cache may fail at. */
  async #try<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.#warn(`cache: ${messageOf(error)}; loading goes on without it`);
      return undefined;
    }
  }

  async #about(store: Store, group: string): Promise<About | undefined> {
    return parseAbout(await this.#try(() => store.get(`${group}/${ABOUT}`)));
  }

  async #pieces(store: Store, group: string, version: Version): Promise<Set<number>> {
    const id = versionId(version);
    return piecesOf((await this.#try(() => store.keys(group))) ?? [], id);
  }

  /** @returns whether it is kept; nothing more is once something could not be: there is no space, or no permission */
  async #save(
    store: Store,
    key: string,
    parts: () => Promise<readonly Uint8Array<ArrayBuffer>[]>,
  ): Promise<boolean> {
    if (this.#full) return false;
    const done = await this.#try(async () => {
      await store.put(key, await parts());
      return true;
    });
    this.#full = done !== true;
    return done === true;
  }

  async #put(store: Store, group: string, about: About): Promise<void> {
    await this.#save(store, `${group}/${ABOUT}`, async () => [
      new TextEncoder().encode(JSON.stringify(about)),
    ]);
  }

  #access(store: Store, group: string, { url }: Wanted, version: Version, pieces: Set<number>): Access {
    const id = versionId(version);
    const key = (index: number) => `${group}/${id}-${index}`;
    return {
      pieces,
      get: (index) => this.#try(() => store.get(key(index))),
      put: (index, parts) => this.#save(store, key(index), parts),
      describe: (about) => this.#put(store, group, about),
      finish: async () => {
        await this.#try(async () => {
          const own = (name: string) => name === `${group}/${ABOUT}` || name.startsWith(`${group}/${id}-`);
          for (const { key } of await store.keys(group)) if (!own(key)) await store.delete(key);
        });
      },
      transfer: (position) => new Transfer(url, this.#options, position, version),
      warn: (message) => this.#warn(message),
    };
  }
}
