/**
 * A file that is kept in the cache while it is read: in pieces, each with its SHA-256 digest, under the name of the
 * content that the server names. What is there already comes from the cache, all else from the server; so a loading that
 * was broken off continues where it ended, a piece that is not as it was written is fetched again, and several tabs or
 * processes that load one file write the same bytes under the same names.
 */
import { FileError } from '@freelunch/errors';
import { type ByteSource, chunkSource, endsEarly, reusable } from '../byte-source.js';
import { isWebPage, Missing } from '../placeholder.js';
import type { Transfer } from '../transfer.js';
import { type About, isComplete } from './about.js';
import { PIECE_BYTES } from './piece.js';

const DIGEST_BYTES = 32;
const nothing = new Uint8Array();

/** How a kept file reaches the cache and the server. */
export interface Access {
  /** The pieces that are in the cache; kept up to date here. */
  readonly pieces: Set<number>;
  /** Of a piece, with its digest; undefined if it cannot be had. */
  get(index: number): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** @returns false if nothing more can be kept */
  put(index: number, parts: () => Promise<readonly Uint8Array<ArrayBuffer>[]>): Promise<boolean>;
  describe(about: About): Promise<void>;
  /** Asked for once all of the file is there. */
  finish(): Promise<void>;
  /** A transfer of the same content from a position on, not open yet. */
  transfer(position: number): Transfer;
  warn(message: string): void;
}

const digestOf = async (bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));

/** What arrives, in pieces that follow each other. */
interface Stream {
  transfer: Transfer;
  read: ByteSource['read'];
  first: number;
  next: number;
}

export class KeptFile implements ByteSource {
  readonly name: string;
  /** As it was known when the file was opened: readers rely on it. */
  readonly size: number | undefined;
  readonly commit: string | undefined;
  readonly #access: Access;
  #about: About;
  /** Whether the cache has what `#about` says. */
  #described: boolean;
  #stream: Stream | undefined;
  /** Number and bytes of the piece in memory. */
  #index = -1;
  #bytes: Uint8Array = nothing;
  #storing: Promise<void> = Promise.resolve();
  readonly #memory = reusable();

  /** @param transfer of a content that the cache does not have; open, from the beginning of the file */
  constructor(name: string, about: About, access: Access, commit?: string, transfer?: Transfer) {
    this.name = name;
    this.size = about.size;
    this.commit = commit;
    this.#access = access;
    this.#about = about;
    this.#described = transfer === undefined;
    if (transfer !== undefined) this.#stream = this.#follow(transfer, 0);
  }

  /** Whether the server sends a web page in place of the file. Nothing is kept then. */
  async isWebPage(): Promise<boolean> {
    return isWebPage(await this.#load(0));
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    let index = Math.floor(offset / PIECE_BYTES);
    let start = offset - index * PIECE_BYTES;
    let piece = await this.#load(index);
    if (start + length <= piece.length) return piece.subarray(start, start + length);
    const bytes = this.#memory(length);
    for (let filled = 0; ; piece = await this.#load(++index), start = 0) {
      const part = piece.subarray(start, start + length - filled);
      bytes.set(part, filled);
      filled += part.length;
      if (filled === length) return bytes;
      if (piece.length === PIECE_BYTES) continue;
      if (this.size !== undefined) throw endsEarly(this.name, offset + length, this.size);
      return bytes.subarray(0, filled);
    }
  }

  /** Returns once all that was read is kept, as far as it can be. */
  async close(): Promise<void> {
    await this.#stop();
    await this.#storing;
  }

  async #load(index: number): Promise<Uint8Array> {
    if (index === this.#index) return this.#bytes;
    await this.#storing; // it uses the memory of the last piece
    this.#index = -1;
    const { size } = this.#about;
    if (size !== undefined && index * PIECE_BYTES >= size) return nothing;
    let bytes = await this.#kept(index);
    if (bytes === undefined) bytes = await this.#fetch(index);
    else {
      await this.#stop();
      if (!this.#described) this.#meanwhile(this.#describe());
    }
    this.#index = index;
    this.#bytes = bytes;
    return bytes;
  }

  /** A piece from the cache, if it is there as it was written. */
  async #kept(index: number): Promise<Uint8Array | undefined> {
    const { pieces } = this.#access;
    if (!pieces.has(index)) return undefined;
    const stored = await this.#access.get(index);
    const { size } = this.#about;
    if (stored !== undefined && stored.length > DIGEST_BYTES) {
      const bytes = stored.subarray(0, -DIGEST_BYTES);
      const most = size === undefined ? PIECE_BYTES : Math.min(PIECE_BYTES, size - index * PIECE_BYTES);
      const fits = size === undefined ? bytes.length <= most : bytes.length === most;
      const digest = fits ? await digestOf(bytes) : nothing;
      if (fits && digest.every((byte, i) => byte === stored[bytes.length + i])) {
        if (size === undefined && bytes.length < PIECE_BYTES)
          this.#endsAt(index * PIECE_BYTES + bytes.length);
        return bytes;
      }
    }
    pieces.delete(index);
    if (stored === undefined) return undefined; // removed since
    this.#access.warn(
      `${this.name}: a part of it in the cache is not as it was written, and is fetched again`,
    );
    return undefined;
  }

  /** A piece from the server, which goes into the cache while it is used. */
  async #fetch(index: number): Promise<Uint8Array> {
    if (this.#stream?.next !== index) {
      await this.#stop();
      const transfer = this.#access.transfer(index * PIECE_BYTES);
      const outcome = await transfer.open();
      if (outcome instanceof Missing)
        throw new FileError(`${this.name}: is there no more (${outcome.reason})`);
      this.#stream = this.#follow(transfer, index);
    }
    const stream = this.#stream!;
    const { size } = this.#about;
    const length = size === undefined ? PIECE_BYTES : Math.min(PIECE_BYTES, size - index * PIECE_BYTES);
    const start = (index - stream.first) * PIECE_BYTES;
    const bytes = (await stream.read(start, length)) as Uint8Array<ArrayBuffer>;
    stream.next = index + 1;
    if (bytes.length < length) this.#endsAt(index * PIECE_BYTES + bytes.length);
    if (index > 0 || !isWebPage(bytes)) this.#meanwhile(this.#keep(index, bytes));
    return bytes;
  }

  /** Lets a work go on until the next piece is needed. Only what a user's `onWarning` throws makes it fail, then. */
  #meanwhile(work: Promise<void>): void {
    work.catch(() => {});
    this.#storing = work;
  }

  async #keep(index: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const access = this.#access;
    if (bytes.length > 0) {
      if (!(await access.put(index, async () => [bytes, await digestOf(bytes)]))) return;
      access.pieces.add(index);
    }
    await this.#describe();
  }

  async #describe(): Promise<void> {
    if (!this.#described) await this.#access.describe(this.#about);
    this.#described = true;
    if (isComplete(this.#about.size, this.#access.pieces)) await this.#access.finish();
  }

  #endsAt(size: number): void {
    this.#about = { ...this.#about, size };
    this.#described = false;
  }

  #follow(transfer: Transfer, first: number): Stream {
    const { read } = chunkSource(() => transfer.receive(), undefined, this.name);
    return { transfer, read, first, next: first };
  }

  async #stop(): Promise<void> {
    const stream = this.#stream;
    this.#stream = undefined;
    await stream?.transfer.close();
  }
}
