import { ArgumentError, FormatError, show } from '@freelunch/errors';
import { openFile } from '../files/open.js';

/**
 * A file, wherever it lies, read piece by piece: nothing here holds a whole checkpoint. Reads go forward: each begins
 * where the one before it ended, or later. What a read gives is good until the next one: sources use their memory anew.
 */
export interface ByteSource {
  readonly name: string;
  /** In bytes; undefined where a server does not say it. */
  readonly size: number | undefined;
  /**
   * @returns as many bytes as asked for; fewer only where a file of unknown size ends
   * @throws FormatError if a file of known size ends before
   */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

const nothing = async (): Promise<void> => {};

/** Memory for one read after another, as long as the longest so far. */
export function reusable(): (length: number) => Uint8Array {
  let bytes = new Uint8Array();
  return (length) => {
    if (bytes.length < length) bytes = new Uint8Array(length);
    return bytes.subarray(0, length);
  };
}

/** Bytes that are in memory already. @throws ArgumentError */
export function bytesSource(bytes: Uint8Array, name = 'bytes'): ByteSource {
  if (!(bytes instanceof Uint8Array))
    throw new ArgumentError(`bytesSource: bytes must be a Uint8Array, got ${show(bytes)}`);
  const read = async (offset: number, length: number) => {
    if (offset + length > bytes.length) throw endsEarly(name, offset + length, bytes.length);
    return bytes.subarray(offset, offset + length);
  };
  return { name, size: bytes.length, read, close: nothing };
}

/** A file that a user chose in a browser, or any Blob. @throws ArgumentError */
export function blobSource(
  blob: Blob,
  name = (blob as { name?: string } | null)?.name ?? 'blob',
): ByteSource {
  if (!(blob instanceof Blob)) throw new ArgumentError(`blobSource: blob must be a Blob, got ${show(blob)}`);
  const read = async (offset: number, length: number) => {
    if (offset + length > blob.size) throw endsEarly(name, offset + length, blob.size);
    return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
  };
  return { name, size: blob.size, read, close: nothing };
}

/** A file on disk (Node, Deno, Bun). @throws FileError if it is not there, not readable, or a folder, pipe or device */
export async function fileSource(path: string): Promise<ByteSource> {
  if (typeof path !== 'string' || path === '')
    throw new ArgumentError(`fileSource: path must be the name of a file, got ${show(path)}`);
  const { file, size } = await openFile(path);
  const memory = reusable();
  const read = async (offset: number, length: number) => {
    const bytes = memory(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await file.read(bytes, done, length - done, offset + done);
      if (bytesRead === 0) throw endsEarly(path, offset + length, offset + done);
      done += bytesRead;
    }
    return bytes;
  };
  return { name: path, size, read, close: () => file.close() };
}

/**
 * A stream, read forward.
 *
 * @param size  in bytes; undefined if not known
 * @throws ArgumentError
 */
export function streamSource(stream: ReadableStream<Uint8Array>, size?: number, name = 'stream'): ByteSource {
  if (!(stream instanceof ReadableStream))
    throw new ArgumentError(`streamSource: stream must be a ReadableStream, got ${show(stream)}`);
  if (size !== undefined && !(Number.isSafeInteger(size) && size >= 0))
    throw new ArgumentError(`streamSource: size must be a whole number from 0 up, got ${show(size)}`);
  const reader = stream.getReader();
  const close = () => reader.cancel().catch(() => {});
  return { ...chunkSource(() => reader.read(), size, name), close };
}

/** What arrives in chunks, read forward. `peek` shows the first bytes, which can still be read. */
export function chunkSource(
  receive: () => Promise<{ done: boolean; value?: Uint8Array }>,
  size: number | undefined,
  name: string,
) {
  let chunk = new Uint8Array();
  let position = 0; // of the chunk's first byte in the file
  let ended = false;
  const memory = reusable();
  const next = async (): Promise<Uint8Array<ArrayBuffer>> => {
    const { done, value } = await receive();
    ended = done;
    if (value === undefined) return new Uint8Array();
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength) as Uint8Array<ArrayBuffer>;
  };
  const read = async (offset: number, length: number) => {
    if (offset < position)
      throw new FormatError(`${name}: a stream is read forward, from ${position}, got ${offset}`);
    const bytes = memory(length);
    let filled = 0;
    while (filled < length) {
      const start = offset + filled - position;
      if (start < chunk.length) {
        const part = chunk.subarray(start, start + length - filled);
        bytes.set(part, filled);
        filled += part.length;
      } else if (ended) {
        if (size === undefined) break;
        throw endsEarly(name, offset + length, position + chunk.length);
      } else {
        position += chunk.length;
        chunk = await next();
      }
    }
    return bytes.subarray(0, filled);
  };
  const peek = async (length: number): Promise<Uint8Array> => {
    while (chunk.length < length) {
      const more = await next();
      if (ended) break;
      const joined = new Uint8Array(chunk.length + more.length);
      joined.set(chunk);
      joined.set(more, chunk.length);
      chunk = joined;
    }
    return chunk.subarray(0, length);
  };
  return { name, size, read, peek };
}

export const endsEarly = (name: string, wanted: number, got: number): FormatError =>
  new FormatError(`${name}: file must have ${wanted} bytes, ends at ${got}`);

/** All of a file. @throws FormatError if it is longer than `most`: at once if it says so, else when it has sent so much */
export async function readAll(source: ByteSource, most: number): Promise<Uint8Array> {
  const tooLong = (got: string) =>
    new FormatError(`${source.name}: file must be at most ${most} bytes, got ${got}`);
  if (source.size !== undefined) {
    if (source.size > most) throw tooLong(String(source.size));
    return (await source.read(0, source.size)).slice();
  }
  const pieceBytes = 65_536;
  let all = new Uint8Array(pieceBytes);
  for (let length = 0; ;) {
    const piece = await source.read(length, pieceBytes);
    if (length + piece.length > most) throw tooLong('more');
    if (length + piece.length > all.length) {
      const larger = new Uint8Array(2 * all.length);
      larger.set(all);
      all = larger;
    }
    all.set(piece, length);
    length += piece.length;
    if (piece.length < pieceBytes) return all.subarray(0, length);
  }
}
