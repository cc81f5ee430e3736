import { FormatError } from '@freelunch/errors';
import type { ByteSource } from '../byte-source.js';

const PIECE_BYTES = 65_536;

/**
 * Reads the beginning of a file value by value. Bytes are fetched in pieces, and memory grows with what has arrived,
 * never with what a file claims.
 */
export class Cursor {
  readonly #source: ByteSource;
  readonly #most: number;
  /** What was fetched last, from `#start` of the file. */
  #bytes = new Uint8Array();
  #start = 0;
  #position = 0;

  /** @param most bytes that may be read */
  constructor(source: ByteSource, most: number) {
    this.#source = source;
    this.#most = most;
  }

  /** Of the next byte in the file. */
  get position(): number {
    return this.#position;
  }

  /** Bytes that may still come, as far as that is known. */
  get left(): number {
    return Math.min(this.#most, this.#source.size ?? Infinity) - this.#position;
  }

  /** @throws FormatError naming `what` if so many bytes cannot come */
  need(length: number | bigint, what: string): number {
    if (length > this.left)
      throw new FormatError(
        `${this.#source.name}: ${what} must fit into the ${this.left} bytes left to the header, got ${length}`,
      );
    return Number(length);
  }

  /** The next few bytes, good until the next call. @throws FormatError if the file ends before */
  async take(length: number, what: string): Promise<DataView> {
    this.need(length, what);
    let from = this.#position - this.#start;
    if (from + length > this.#bytes.length) {
      const rest = this.#bytes.slice(from);
      const next = this.#start + this.#bytes.length;
      const wanted = Math.max(PIECE_BYTES, length - rest.length);
      const more = await this.#source.read(next, Math.min(wanted, (this.#source.size ?? Infinity) - next));
      this.#bytes = new Uint8Array(rest.length + more.length);
      this.#bytes.set(rest);
      this.#bytes.set(more, rest.length);
      this.#start = this.#position;
      from = 0;
      if (this.#bytes.length < length)
        throw new FormatError(
          `${this.#source.name}: ${what} must be in the file, which ends at ${next + more.length}`,
        );
    }
    this.#position += length;
    return new DataView(this.#bytes.buffer, this.#bytes.byteOffset + from, length);
  }

  /** A copy of the next bytes, however many. @throws FormatError if the file ends before */
  async takeLong(length: number | bigint, what: string): Promise<Uint8Array<ArrayBuffer>> {
    const wanted = this.need(length, what);
    let all = new Uint8Array(Math.min(wanted, PIECE_BYTES));
    for (let done = 0; done < wanted;) {
      const part = Math.min(wanted - done, PIECE_BYTES);
      const { buffer, byteOffset } = await this.take(part, what);
      if (done + part > all.length) {
        const larger = new Uint8Array(Math.min(wanted, 2 * all.length));
        larger.set(all);
        all = larger;
      }
      all.set(new Uint8Array(buffer, byteOffset, part), done);
      done += part;
    }
    return all;
  }

  /** The file from here on, including what was fetched ahead. */
  rest(): ByteSource {
    const source = this.#source;
    const ahead = this.#bytes;
    const start = this.#start;
    const end = start + ahead.length;
    const read = async (offset: number, length: number): Promise<Uint8Array> => {
      if (offset >= end || offset < start) return source.read(offset, length);
      const first = ahead.subarray(offset - start, offset - start + length);
      if (first.length === length) return first;
      const more = await source.read(end, length - first.length);
      const joined = new Uint8Array(first.length + more.length);
      joined.set(first);
      joined.set(more, first.length);
      return joined;
    };
    return { name: source.name, size: source.size, read, close: () => source.close() };
  }
}
