import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { FileError, FormatError, loadKernels, UnsupportedError } from '@freelunch/kernels';
import * as inline from '@freelunch/kernels/inline';

const binary = readFileSync(new URL('../dist/simd.wasm', import.meta.url));
let server: Server;
let address: string;

beforeAll(async () => {
  server = createServer((request, response) => {
    const [, folder] = request.url!.split('/');
    if (folder === 'missing') response.writeHead(404).end('no such file');
    else if (folder === 'plain') response.writeHead(200, { 'content-type': 'text/plain' }).end(binary);
    else if (folder === 'cut')
      response.writeHead(200, { 'content-type': 'application/wasm' }).end(binary.subarray(0, 99));
    else if (folder === 'hang') request.socket.destroy();
    else response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>App</title>');
  });
  await new Promise<void>((ready) => void server.listen(0, '127.0.0.1', ready));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => void server.close());
afterEach(() => vi.restoreAllMocks());

const load = (folder: string, threads = 1) =>
  loadKernels({ variant: 'simd', threads, baseUrl: `${address}/${folder}/` });

describe('a binary that does not come', () => {
  it.each([1, 2])(
    'because there is no such file is named by address and status (%i threads)',
    async (threads) => {
      await expect(load('missing', threads)).rejects.toThrow(FileError);
      await expect(load('missing', threads)).rejects.toThrow(
        `loadKernels: ${address}/missing/simd.wasm must be a binary, got HTTP status 404; if a bundler has left it behind, copy node_modules/@freelunch/kernels/dist/simd.wasm next to the bundle`,
      );
    },
  );

  it.each([1, 2])(
    'because the server answers with its page is named by what came (%i threads)',
    async (threads) => {
      const loading = load('app', threads);
      await expect(loading).rejects.toThrow(FormatError);
      await expect(loading).rejects.toThrow(
        `${address}/app/simd.wasm must be a binary, got 33 bytes of content type text/html that begin with '<!doctype html>`,
      );
    },
  );

  it("because Vite's optimizer has moved the module gets the option that keeps it", async () => {
    const moved = loadKernels({ variant: 'simd', baseUrl: `${address}/node_modules/.vite/deps/` });
    await expect(moved).rejects.toThrow(
      "set optimizeDeps: { exclude: ['@freelunch/kernels'] } in vite.config",
    );
  });

  it('because the network fails says so', async () => {
    await expect(load('hang')).rejects.toThrow(FileError);
    await expect(load('hang')).rejects.toThrow(`${address}/hang/simd.wasm cannot be fetched: fetch failed: `);
  });

  it('because no file is there, or none may be read, says which', async () => {
    const absent = loadKernels({ variant: 'simd', baseUrl: 'file:///nowhere/' });
    await expect(absent).rejects.toThrow(FileError);
    await expect(absent).rejects.toThrow(
      /^loadKernels: file:\/\/\/nowhere\/simd\.wasm cannot be read: ENOENT.*bundler/,
    );
  });
});

it('accepts a binary that is served as something else', async () => {
  expect((await load('plain')).variant).toBe('simd');
});

it('names a binary that is cut off', async () => {
  await expect(load('cut')).rejects.toThrow(
    /^loadKernels: source must be a binary of these kernels, got one that does not start/,
  );
});

it.each([
  ['loadKernels', () => load('plain')],
  ['loadKernels of the entry inline', () => inline.loadKernels({ variant: 'simd' })],
])('%s says that nothing may be compiled, and what allows it', async (_name, start) => {
  const refusal = new WebAssembly.CompileError(
    'WebAssembly.compile(): violates the Content Security Policy directive',
  );
  vi.spyOn(WebAssembly, 'compile').mockRejectedValue(refusal);
  const loading = start();
  await expect(loading).rejects.toThrow(UnsupportedError);
  await expect(loading).rejects.toThrow(
    /nothing may be compiled here: .*'wasm-unsafe-eval' in the script-src/,
  );
});
