import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Reply = (path: string, response: ServerResponse, request: IncomingMessage) => void;

export interface Asked {
  path: string;
  headers: IncomingMessage['headers'];
}

/** A server of this machine that answers each path, without its first slash, as told; closed at the end of the block. */
export async function serve(reply: Reply) {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const path = request.url!.slice(1);
    asked.push({ path, headers: request.headers });
    reply(path, response, request);
  });
  await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
  const close = () => void (server.closeAllConnections(), server.close());
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** All requests so far. */
    asked,
    close,
    [Symbol.dispose]: close,
  };
}

export interface Sending {
  etag?: string;
  modified?: string;
  /** Breaks the connection after so many bytes of the body. */
  breakAfter?: number;
  /** Sends all whatever is asked for. */
  ignoreRanges?: boolean;
}

/** Sends a file as a good server does: with its length and ETag, from where a Range begins, 304 where it is known. */
export function send(
  content: Uint8Array,
  response: ServerResponse,
  request: IncomingMessage,
  { etag = '"1"', modified, breakAfter = Infinity, ignoreRanges = false }: Sending = {},
): void {
  const headers: Record<string, string | number> = {};
  if (etag !== '') headers.etag = etag;
  if (modified !== undefined) headers['last-modified'] = modified;
  if (etag !== '' && request.headers['if-none-match'] === etag)
    return void response.writeHead(304, headers).end();
  const [, from] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? [];
  const start = ignoreRanges ? 0 : Number(from ?? 0);
  const partial = from !== undefined && !ignoreRanges;
  if (partial) headers['content-range'] = `bytes ${start}-${content.length - 1}/${content.length}`;
  headers['content-length'] = content.length - start;
  response.writeHead(partial ? 206 : 200, headers);
  const body = content.subarray(start, start + breakAfter);
  if (start + body.length === content.length) response.end(body);
  else response.write(body, () => setTimeout(() => response.destroy(), 20)); // let it arrive first
}
