import { FormatError } from '@freelunch/kernels';

/**
 * A file, wherever it lies, read piece by piece: nothing here holds a whole checkpoint. Reads go forward: each begins
 * where the one before it ended, or later. What a read gives is good until the next one: sources use their memory anew.
 */
export interface ByteSource {
  readonly name: string;
  readonly size: number;
  /** @throws FormatError if the file ends before */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

const nothing = async (): Promise<void> => {};

/** Memory for one read after another, as long as the longest so far. */
function reusable(): (length: number) => Uint8Array {
  let bytes = new Uint8Array();
  return (length) => {
    if (bytes.length < length) bytes = new Uint8Array(length);
    return bytes.subarray(0, length);
  };
}

/** Bytes that are in memory already. */
export function bytesSource(bytes: Uint8Array, name = 'bytes'): ByteSource {
  return {
    name,
    size: bytes.length,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
    close: nothing,
  };
}

/** A file that a user chose in a browser, or any Blob. */
export function blobSource(blob: Blob, name = (blob as { name?: string }).name ?? 'blob'): ByteSource {
  const read = async (offset: number, length: number) =>
    new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
  return { name, size: blob.size, read, close: nothing };
}

/** A file on disk (Node, Deno, Bun). */
export async function fileSource(path: string): Promise<ByteSource> {
  const module = 'node:fs/promises'; // named at run time: bundlers for browsers must not follow it
  const { open } = (await import(
    /* @vite-ignore */ /* webpackIgnore: true */ module
  )) as typeof import('node:fs/promises');
  const file = await open(path, 'r');
  const { size } = await file.stat();
  const memory = reusable();
  const read = async (offset: number, length: number) => {
    const bytes = memory(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await file.read(bytes, done, length - done, offset + done);
      if (bytesRead === 0)
        throw new FormatError(`${path}: file must have ${offset + length} bytes, ends at ${offset + done}`);
      done += bytesRead;
    }
    return bytes;
  };
  return { name: path, size, read, close: () => file.close() };
}

/** A file on a server, read as it arrives; `undefined` if the server has none. */
export async function urlSource(url: string | URL, signal?: AbortSignal): Promise<ByteSource | undefined> {
  const name = String(url);
  const response = await fetch(url, { signal });
  if (response.status === 404) {
    await response.body?.cancel();
    return undefined;
  }
  if (!response.ok || response.body === null)
    throw new FormatError(`${name}: must be a file, got HTTP status ${response.status}`);
  const length = Number(response.headers.get('content-length') ?? NaN);
  // A compressed transfer does not say how long the file is: then it is taken whole.
  if (!Number.isSafeInteger(length) || response.headers.has('content-encoding')) {
    return bytesSource(new Uint8Array(await response.arrayBuffer()), name);
  }
  return streamSource(response.body, length, name);
}

/** A stream of known length, read forward. */
export function streamSource(stream: ReadableStream<Uint8Array>, size: number, name = 'stream'): ByteSource {
  const reader = stream.getReader();
  let chunk = new Uint8Array();
  let position = 0; // of the chunk's first byte in the file
  const memory = reusable();
  const advance = async () => {
    position += chunk.length;
    const { done, value } = await reader.read();
    if (done) throw new FormatError(`${name}: file must have ${size} bytes, ends at ${position}`);
    chunk = new Uint8Array(value.buffer, value.byteOffset, value.byteLength) as Uint8Array<ArrayBuffer>;
  };
  const read = async (offset: number, length: number) => {
    if (offset < position)
      throw new FormatError(`${name}: a stream is read forward, from ${position}, got ${offset}`);
    const bytes = memory(length);
    let filled = 0;
    while (filled < length) {
      const start = offset + filled - position;
      if (start >= chunk.length) await advance();
      else {
        const part = chunk.subarray(start, start + length - filled);
        bytes.set(part, filled);
        filled += part.length;
      }
    }
    return bytes;
  };
  return { name, size, read, close: () => reader.cancel().catch(() => {}) };
}
