import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { FileError, FormatError } from '@freelunch/errors';
import { loadKernels, type Tensor } from '@freelunch/kernels';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { loadTokenizer } from '../tokenizer.js';
import { configJson, createModel, type ModelConfig } from '../index.js';
import { loadPretrained } from './checkpoint.js';
import { encodeSafetensors } from './safetensors.js';

vi.setConfig({ testTimeout: 60_000 });
const k = await loadKernels({ variant: 'simd' });
const config: ModelConfig = { vocabSize: 11, dModel: 6, nLayers: 2, mixer: { type: 'mamba', dState: 3 } };
const model = createModel(k, config);
const weights = encodeSafetensors(model.parameters());
const json = new TextEncoder().encode(configJson(model.config));
const halves = [...model.parameters()].reduce<[Map<string, Tensor>, Map<string, Tensor>]>(
  (all, [name, tensor], i) => (all[i % 2].set(name, tensor), all),
  [new Map(), new Map()],
);
const names = halves.map((_, i) => `model-0000${i + 1}-of-00002.safetensors`);
const index = { weight_map: Object.fromEntries(halves.flatMap((half, i) => [...half.keys()].map((name) => [name, names[i]]))) }; // prettier-ignore
const shards: Record<string, Uint8Array> = {
  'config.json': json,
  'model.safetensors.index.json': new TextEncoder().encode(JSON.stringify(index)),
  [names[0]]: encodeSafetensors(halves[0]),
  [names[1]]: encodeSafetensors(halves[1]),
};
const whole: Record<string, Uint8Array> = { 'config.json': json, 'model.safetensors': weights };

afterEach(() => void vi.restoreAllMocks());
afterAll(() => model.dispose());

/** A server that answers each file as told; closed at the end of the block. */
async function serve(answer: (file: string, response: ServerResponse, request: IncomingMessage) => void) {
  const server = createServer((request, response) => answer(request.url!.slice(1), response, request));
  await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.dispose]: () => void (server.closeAllConnections(), server.close()),
  };
}

const found = (files: Record<string, Uint8Array>, file: string): Uint8Array | undefined =>
  Object.hasOwn(files, file) ? files[file] : undefined;

async function expectLoads(url: string): Promise<void> {
  using back = await loadPretrained(k, url);
  for (const [name, tensor] of model.parameters())
    expect(back.parameters().get(name)!.toArray()).toEqual(tensor.toArray());
}

/** As a browser shows an answer of another origin: the encoding is hidden, the length is that of what was sent. */
function asOtherOrigin(): void {
  const { fetch } = globalThis;
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (...args) => {
    const response = await fetch(...args);
    const headers = new Headers(response.headers);
    headers.delete('content-encoding');
    return Object.defineProperties(response, { headers: { value: headers }, type: { value: 'cors' } });
  });
}

describe('a checkpoint by URL', () => {
  it.each([whole, shards])('loads when it is packed by a server of another origin', async (files) => {
    using server = await serve((file, response) => {
      const content = found(files, file);
      if (content === undefined) return void response.writeHead(404).end();
      const packed = gzipSync(content);
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': packed.length }).end(packed);
    });
    await expectLoads(server.url);
    asOtherOrigin();
    await expectLoads(server.url);
  });

  it('loads where the server does not say how long files are', async () => {
    using server = await serve((file, response) => {
      const content = found(whole, file);
      if (content === undefined) return void response.writeHead(404).end();
      for (let i = 0; i < content.length; i += 7) response.write(content.subarray(i, i + 7));
      response.end();
    });
    await expectLoads(server.url);
  });

  const page = '\n<!DOCTYPE html><html><body>not here</body></html>';
  it.each([
    ['404', (response: ServerResponse) => response.writeHead(404).end(page)],
    ['403, as S3 does', (response: ServerResponse) => response.writeHead(403).end('<?xml version="1.0"?>')],
    ['401', (response: ServerResponse) => response.writeHead(401).end()],
    ['410', (response: ServerResponse) => response.writeHead(410).end()],
    ['200 and a page', (response: ServerResponse) => response.end(page)],
    [
      '200 and a page that has a length',
      (response: ServerResponse) => response.writeHead(200, { 'content-length': page.length }).end(page),
    ],
  ])('in shards loads where absent files are answered by %s', async (_title, absent) => {
    using server = await serve((file, response) => {
      const content = found(shards, file);
      if (content === undefined) absent(response);
      else response.end(content);
    });
    await expectLoads(server.url);
  });

  it.each([
    [404, /must hold config\.json, got HTTP status 404/, FormatError],
    [403, /must hold config\.json, got HTTP status 403/, FormatError],
    [503, /got HTTP status 503/, FileError],
  ])('says what the server answered: %i', async (status, message, kind) => {
    using server = await serve((_file, response) => response.writeHead(status).end());
    await expect(loadPretrained(k, server.url, { retries: 0 })).rejects.toThrow(message);
    await expect(loadPretrained(k, server.url, { retries: 0 })).rejects.toThrow(kind);
  });

  it('says that weights are answered by a page, if there is no index either', async () => {
    using server = await serve((file, response) => response.end(file === 'config.json' ? json : page));
    await expect(loadPretrained(k, server.url)).rejects.toThrow(/got neither \(a web page in its place\)/);
  });

  it.each([
    [2_000_000, false],
    [2_000_000, true],
  ])('is refused while it is read once config.json is too long', async (pieceBytes, withLength) => {
    let sent = 0;
    using server = await serve((_file, response) => {
      const piece = new Uint8Array(pieceBytes).fill(0x20);
      if (withLength) response.writeHead(200, { 'content-length': 1e12 });
      const send = () => {
        while (!response.destroyed) {
          sent += piece.length;
          if (!response.write(piece)) return;
        }
      };
      response.on('drain', send);
      send();
    });
    await expect(loadPretrained(k, server.url)).rejects.toThrow(/file must be at most 4000000 bytes/);
    expect(sent).toBeLessThan(100_000_000);
  });

  it.each([
    ['before the answer', (_response: ServerResponse) => {}],
    ['after the first bytes', (response: ServerResponse) => void response.write(weights.subarray(0, 9))],
  ])('that falls silent %s gives a FileError after timeoutMs, and can be aborted', async (_when, begin) => {
    using server = await serve((file, response) =>
      file === 'config.json' ? void response.end(json) : begin(response),
    );
    const { usedBytes } = k.memory;
    const loading = loadPretrained(k, server.url, { timeoutMs: 100 });
    await expect(loading).rejects.toThrow(/nothing arrived for 0.1 s/);
    await expect(loading).rejects.toThrow(FileError);
    const signal = AbortSignal.timeout(100);
    await expect(loadPretrained(k, server.url, { signal })).rejects.toThrow(/time/i);
    expect(k.memory.usedBytes).toBe(usedBytes);
  });

  it('may take long as long as something arrives', async () => {
    using server = await serve((file, response) => {
      const content = whole[file];
      let sent = 0;
      const timer = setInterval(() => {
        response.write(content.subarray(sent, sent + Math.ceil(content.length / 8)));
        sent += Math.ceil(content.length / 8);
        if (sent < content.length) return;
        clearInterval(timer);
        response.end();
      }, 60);
    });
    using back = await loadPretrained(k, server.url, { timeoutMs: 400 });
    expect(back.parameterCount).toBe(model.parameterCount);
  });

  it.each([
    ['is cut', weights.subarray(0, weights.length - 3), /which ends before/],
    ['goes on', new Uint8Array([...weights, 0]), /got more/],
  ])('that %s, where its length is not known, gives a FormatError', async (_title, content, message) => {
    using server = await serve((file, response) => {
      response.write(file === 'config.json' ? json : content.subarray(0, 5));
      response.end(file === 'config.json' ? '' : content.subarray(5));
    });
    const { usedBytes } = k.memory;
    await expect(loadPretrained(k, server.url)).rejects.toThrow(message);
    await expect(loadPretrained(k, server.url)).rejects.toThrow(FormatError);
    expect(k.memory.usedBytes).toBe(usedBytes);
  });

  it('gives a FileError where nobody answers, or the connection breaks', async () => {
    using server = await serve((file, response) => {
      if (file === 'config.json') return void response.end(json);
      response.writeHead(200, { 'content-length': weights.length });
      response.write(weights.subarray(0, 100), () => response.destroy());
    });
    await expect(loadPretrained(k, server.url)).rejects.toThrow(FileError);
    await expect(loadPretrained(k, 'http://127.0.0.1:1')).rejects.toThrow(FileError);
    await expect(loadPretrained(k, 'http://[')).rejects.toThrow(/source must be a URL/);
    await expect(loadPretrained(k, 'file://host/x')).rejects.toThrow(/URL of a directory/);
  });
});

describe('a pointer of git-lfs', () => {
  const id = 'oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393';
  const pointer = new TextEncoder().encode(
    `version https://git-lfs.github.com/spec/v1\n${id}\nsize 548118077\n`,
  );

  it('in place of a file is named, on a disk and by URL', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'freelunch-pointer-'));
    await writeFile(join(folder, 'config.json'), json);
    await writeFile(join(folder, 'model.safetensors'), pointer);
    await writeFile(join(folder, 'tokenizer.json'), pointer);
    using server = await serve((file, response) => {
      if (file === 'config.json') response.end(json);
      else response.writeHead(200, { 'content-length': pointer.length }).end(pointer);
    });
    for (const source of [folder, server.url]) {
      const message = /got a git-lfs pointer to it \(sha256:4d7a\S+\); 'git lfs pull' fetches it/;
      await expect(loadPretrained(k, source)).rejects.toThrow(message);
      await expect(loadPretrained(k, source)).rejects.toThrow(FormatError);
      await expect(loadTokenizer(source)).rejects.toThrow(message);
    }
    await rm(folder, { recursive: true });
  });
});

describe('a directory', () => {
  it('with a pipe or a folder in place of a file gives a FileError, and waits for nothing', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'freelunch-pipe-'));
    execFileSync('mkfifo', [join(folder, 'config.json')]);
    await expect(loadPretrained(k, folder)).rejects.toThrow(FileError);
    await rm(join(folder, 'config.json'));
    await writeFile(join(folder, 'config.json'), json);
    await mkdir(join(folder, 'model.safetensors'));
    await expect(loadPretrained(k, folder)).rejects.toThrow(/must be a file, got a folder/);
    await rm(folder, { recursive: true });
  });
});
