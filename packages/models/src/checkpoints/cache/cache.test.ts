import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArgumentError, FileError } from '@freelunch/errors';
import { loadKernels, type Tensor } from '@freelunch/kernels';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Asked, type Reply, send, serve } from '../../../tests/server.js';
import {
  createModel,
  loadPretrained,
  openCache,
  savePretrained,
  type SourceOptions,
  urlSource,
} from '../../index.js';

// Pieces of a few hundred kB, so that files of several pieces are short.
const PIECE = vi.hoisted(() => 300_000);
vi.mock('./piece.js', () => ({ PIECE_BYTES: PIECE }));
vi.setConfig({ testTimeout: 60_000 });
const content = Uint8Array.from({ length: 2 * PIECE + 1001 }, (_, i) => (i * 2654435761) >>> 24);
const other = content.toReversed();

let folder: string;
let warnings: string[];
let options: SourceOptions & { cache: string };
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freelunch-cache-'));
  warnings = [];
  options = { cache: folder, retries: 0, onWarning: (message) => void warnings.push(message) };
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

/** Reads a file in steps that do not fit its pieces; `most` bytes of it. */
async function read(url: string, given: SourceOptions = options, most = Infinity): Promise<Buffer> {
  const source = (await urlSource(url, given))!;
  const bytes: Uint8Array[] = [];
  const step = 110_000;
  try {
    for (let offset = 0; ;) {
      const length = Math.min(step, most - offset, (source.size ?? Infinity) - offset);
      const piece = (await source.read(offset, length)).slice();
      bytes.push(piece);
      offset += piece.length;
      if (piece.length < step) return Buffer.concat(bytes);
    }
  } finally {
    await source.close();
  }
}

const isContent = (bytes: Uint8Array, wanted = content) => expect(Buffer.compare(bytes, wanted)).toBe(0);
const ranges = (asked: readonly Asked[]) => asked.map(({ headers }) => headers.range);
const pieces = async () => {
  const files = await readdir(folder, { recursive: true });
  return files.filter((file) => /-\d+$/.test(file)).sort().map((file) => join(folder, file)); // prettier-ignore
};

describe('a file that is cached', () => {
  it('is asked for once, then only whether it has changed', async () => {
    const statuses: number[] = [];
    using server = await serve((_path, response, request) => {
      send(content, response, request);
      statuses.push(response.statusCode);
    });
    for (let i = 0; i < 3; i++) isContent(await read(server.url));
    expect(statuses).toEqual([200, 304, 304]);
    expect(ranges(server.asked)).toEqual([undefined, undefined, undefined]);
    expect(warnings).toEqual([]);
    const cache = await openCache(folder);
    expect(cache.where).toBe(folder);
    const [file, ...others] = await cache.files();
    expect(others).toEqual([]);
    expect(file).toMatchObject({ source: `${server.url}/`, complete: true });
    expect(file.bytes).toBe(await cache.bytes());
    expect(file.bytes - content.length).toBeGreaterThan(0);
    expect(file.bytes - content.length).toBeLessThan(1000);
  });

  it('is replaced once the server has another, and nothing is left of the old one', async () => {
    let now = content;
    using server = await serve((_path, response, request) =>
      send(now, response, request, { etag: now === content ? '"old"' : 'W/"new"' }),
    );
    isContent(await read(server.url));
    const { bytes } = { bytes: await (await openCache(folder)).bytes() };
    now = other;
    isContent(await read(server.url), other);
    isContent(await read(server.url), other);
    expect(await (await openCache(folder)).bytes()).toBeLessThan(bytes + 100);
    expect(await pieces()).toHaveLength(3);
  });

  it.each([
    ['no ETag but a date', { etag: '', modified: 'Sat, 01 Jan 2022 00:00:00 GMT' }],
    ['a server that does not know of conditions', { etag: 'W/"x"' }],
  ])('is recognized with %s', async (_title, sending) => {
    using server = await serve((_path, response, request) => {
      delete request.headers['if-none-match'];
      send(content, response, request, sending);
    });
    isContent(await read(server.url));
    const [piece] = await pieces();
    const { mtimeMs } = await stat(piece);
    isContent(await read(server.url));
    expect(server.asked).toHaveLength(2);
    expect((await stat(piece)).mtimeMs).toBe(mtimeMs);
  });

  it('whose loading was broken off is continued', async () => {
    let breakAfter: number | undefined = PIECE + 1000;
    using server = await serve((_path, response, request) =>
      send(content, response, request, { breakAfter }),
    );
    await expect(read(server.url)).rejects.toThrow(FileError);
    expect((await (await openCache(folder)).files())[0].complete).toBe(false);
    breakAfter = undefined;
    server.asked.length = 0;
    isContent(await read(server.url));
    expect(ranges(server.asked)).toEqual([undefined, `bytes=${PIECE}-`]);
    expect((await (await openCache(folder)).files())[0].complete).toBe(true);
  });

  it('of which only the beginning is read is cached so far', async () => {
    using server = await serve((_path, response, request) => send(content, response, request));
    await read(server.url, options, 100);
    expect(await pieces()).toHaveLength(1);
    isContent(await read(server.url));
    expect(ranges(server.asked)).toEqual([undefined, undefined, `bytes=${PIECE}-`]);
  });

  it.each([
    ['truncated', (path: string) => truncate(path, 1000)],
    ['empty', (path: string) => truncate(path, 0)],
    ['longer', (path: string) => truncate(path, PIECE + 1000)],
    ['removed', (path: string) => rm(path)],
    ['a folder', async (path: string) => (await rm(path), await mkdir(path))],
    [
      'changed in one bit',
      async (path: string) => {
        const bytes = await readFile(path);
        bytes[12_345] ^= 4;
        await writeFile(path, bytes);
      },
    ],
  ])('and then %s in one piece is fetched again there, and no more of it', async (title, change) => {
    using server = await serve((_path, response, request) => send(content, response, request));
    isContent(await read(server.url));
    await change((await pieces())[1]);
    server.asked.length = 0;
    isContent(await read(server.url));
    expect(ranges(server.asked)).toEqual([undefined, `bytes=${PIECE}-`]);
    if (title === 'changed in one bit') expect(warnings.join()).toMatch(/not as it was written/);
    if (title === 'a folder') return; // nothing can be put there
    server.asked.length = 0;
    isContent(await read(server.url));
    expect(ranges(server.asked)).toEqual([undefined]);
  });

  it.each(['', '{', '[]', '{"source":1}', '{"source":"x","query":"","version":{"etag":7}}', '\xff'])(
    'is loaded though what is said of it is broken: %j',
    async (text) => {
      using server = await serve((_path, response, request) => send(content, response, request));
      isContent(await read(server.url));
      const about = (await readdir(folder, { recursive: true })).find((file) => file.endsWith('about.json'))!;
      await writeFile(join(folder, about), text, 'latin1');
      expect(await (await openCache(folder)).files()).toEqual([]);
      isContent(await read(server.url));
      expect((await (await openCache(folder)).files())[0].complete).toBe(true);
    },
  );

  it.each([
    ['is silent', (() => {}) as Reply],
    ['is busy', ((_path, response) => response.writeHead(503).end()) as Reply],
  ])('is used, with a warning, while the server %s', async (_title, later) => {
    let reply: Reply = (_path, response, request) => send(content, response, request);
    using server = await serve((path, response, request) => reply(path, response, request));
    const given = { ...options, timeoutMs: 300 };
    isContent(await read(`${server.url}?a=1`, given));
    reply = later;
    isContent(await read(`${server.url}?a=1`, given));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/what the cache has is used, which may have changed since/);
    // Another query may name another file.
    await expect(read(`${server.url}?a=2`, given)).rejects.toThrow(FileError);
  });

  it('is used while nobody answers, without trying again and again', async () => {
    const server = await serve((_path, response, request) => send(content, response, request));
    isContent(await read(server.url));
    server.close();
    const start = performance.now();
    isContent(await read(server.url, { ...options, retries: 5 }));
    expect(performance.now() - start).toBeLessThan(1000);
    expect(warnings.join()).toMatch(/ECONNREFUSED.*what the cache has is used/);
  });

  it('is not given to whom the server refuses it', async () => {
    using server = await serve((_path, response, request) => {
      if (request.headers.authorization === 'Bearer right') send(content, response, request);
      else response.writeHead(403).end();
    });
    isContent(await read(server.url, { ...options, token: 'right' }));
    expect(await urlSource(server.url, options)).toBeUndefined();
    const stored = await Promise.all((await readdir(folder, { recursive: true })).filter((file) => file.endsWith('.json')).map((file) => readFile(join(folder, file), 'utf8'))); // prettier-ignore
    expect(stored.join()).not.toMatch(/right/);
  });

  it('at a commit is not asked for again, nor is a file that the commit does not have', async () => {
    const commit = '0123456789abcdef0123456789abcdef01234567';
    using server = await serve((path, response, request) => {
      if (path.endsWith('absent')) response.writeHead(404).end();
      else send(content, response, request);
    });
    const given = { ...options, endpoint: server.url };
    for (let i = 0; i < 2; i++) {
      isContent(await read(`hf:owner/name@${commit}/x.bin`, given));
      expect(await urlSource(`hf:owner/name@${commit}/absent`, given)).toBeUndefined();
      expect(server.asked).toHaveLength(2);
    }
    isContent(await read(`hf:owner/name@main/x.bin`, given));
    expect(server.asked).toHaveLength(3);
  });

  it('may have any length, and one that the server does not say', async () => {
    for (const length of [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE]) {
      const part = content.subarray(0, length);
      using server = await serve((_path, response, request) => {
        if (request.headers['if-none-match'] === '"x"') return void response.writeHead(304).end();
        response.writeHead(200, { etag: '"x"' });
        response.write(part.subarray(0, 1));
        response.end(part.subarray(1));
      });
      for (let i = 0; i < 2; i++) isContent(await read(server.url), part);
      expect(server.asked).toHaveLength(2);
      if (length > 0) expect((await (await openCache(folder)).files()).at(-1)!.complete).toBe(true);
      await (await openCache(folder)).clear();
    }
    expect(warnings).toEqual([]);
  });

  it('is read backwards too', async () => {
    using server = await serve((_path, response, request) => send(content, response, request));
    for (let i = 0; i < 2; i++) {
      const source = (await urlSource(server.url, options))!;
      for (const offset of [2 * PIECE + 500, PIECE - 2, 0, PIECE + 7])
        isContent(await source.read(offset, 400), content.subarray(offset, offset + 400));
      await source.close();
    }
  });
});

describe('a checkpoint that is cached', async () => {
  const k = await loadKernels({ variant: 'simd' });
  const config = { vocabSize: 3000, dModel: 64, nLayers: 2, mixer: { type: 'mamba', dState: 3 } } as const;
  const model = createModel(k, config);
  afterAll(() => model.dispose());
  const bytesOf = ({ data }: Tensor) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

  it.each([
    ['in one file', Infinity, 1],
    ['in shards', 900_000, 2],
  ])('%s is fetched once, shards and what is absent included', async (_title, maxShardBytes, count) => {
    const saved = join(folder, 'saved');
    await savePretrained(saved, model, { maxShardBytes });
    using server = await serve(async (path, response, request) => {
      const content = await readFile(join(saved, path)).catch(() => undefined);
      if (content === undefined) response.writeHead(404).end();
      else send(content, response, request, { etag: `"${path}"` });
    });
    const given = { ...options, cache: join(folder, 'cache') };
    for (let i = 0; i < 2; i++) {
      server.asked.length = 0;
      const { tensors } = k.memory;
      using back = await loadPretrained(k, server.url, given);
      for (const [name, tensor] of model.parameters())
        expect(Buffer.compare(bytesOf(back.parameters().get(name)!), bytesOf(tensor))).toBe(0);
      expect(k.memory.tensors).toBe(tensors + model.parameters().size);
      const weights = server.asked.filter(({ path }) => /^model.*safetensors$/.test(path));
      const absent = count > 1 ? 1 : 0;
      expect(weights.filter(({ headers }) => headers.range === undefined)).toHaveLength(count + absent);
      // The header of a shard brings its first piece, which is not fetched again with its weights.
      if (i === 0 && count > 1) expect(ranges(weights)).toContain(`bytes=${PIECE}-`);
      if (i === 1) expect(ranges(weights).every((range) => range === undefined)).toBe(true);
    }
    server[Symbol.dispose]();
    using back = await loadPretrained(k, server.url, given);
    expect(back.parameterCount).toBe(model.parameterCount);
    expect(warnings).toHaveLength(1);
  });
});

describe('a cache', () => {
  it('keeps no web page in place of a file, and nothing that the server does not name a version of', async () => {
    using server = await serve((path, response, request) => {
      if (path === 'page') response.writeHead(200, { etag: '"1"' }).end('<!doctype html><p>none</p>');
      else send(content, response, request, { etag: '' });
    });
    expect(await urlSource(`${server.url}/page`, options)).toBeUndefined();
    isContent(await read(server.url));
    expect(warnings.join()).toMatch(/cannot be cached: the server gives neither ETag nor Last-Modified/);
    expect(await readdir(folder)).toEqual([]);
  });

  it('that cannot be written is said once, and loading goes on', async () => {
    const blocked = join(folder, 'file');
    await writeFile(blocked, '');
    using server = await serve((_path, response, request) => send(content, response, request));
    isContent(await read(server.url, { ...options, cache: join(blocked, 'cache') }));
    expect(warnings).toEqual([expect.stringMatching(/cannot be made.*loading goes on without it$/)]);
  });

  it('is whole after two processes wrote it at once, one of which was killed', async () => {
    const long = Uint8Array.from({ length: 10_000_000 }, (_, i) => (i * 2654435761) >>> 24);
    const digest = createHash('sha256').update(long).digest('hex');
    using server = await serve((_path, response, request) => send(long, response, request));
    const reads = `
      import { createHash } from 'node:crypto';
      import { urlSource } from '@freelunch/models';
      const [url, cache] = process.argv.slice(1);
      const source = await urlSource(url, { cache, onWarning: (text) => console.log(text) });
      const hash = createHash('sha256');
      for (let offset = 0; offset < source.size; offset += 1e6) {
        hash.update(await source.read(offset, Math.min(1e6, source.size - offset)));
        if (offset === 8e6) process.send('half');
      }
      await source.close();
      console.log(hash.digest('hex'));
      process.exit(); // the channel would keep it
    `;
    const run = (dies: boolean) =>
      new Promise<string>((resolve, reject) => {
        const args = ['--input-type=module', '-e', reads, server.url, folder];
        const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
        let out = '';
        child.stdout!.on('data', (data: Buffer) => (out += String(data)));
        if (dies) child.on('message', () => child.kill('SIGKILL'));
        child.on('error', reject).on('close', () => resolve(out.trim()));
      });
    expect(await Promise.all([run(false), run(true)])).toEqual([digest, '']);
    server.asked.length = 0;
    expect(await run(false)).toBe(digest);
    expect(ranges(server.asked)).toEqual([undefined]);
  });

  it('on a full disk is said once, and loading goes on', async () => {
    const long = Buffer.alloc(10_000_000, 'weights');
    using server = await serve((_path, response, request) => send(long, response, request));
    const limited = `
      import { openCache, urlSource } from '@freelunch/models';
      const warnings = [];
      const source = await urlSource(process.argv[1], { cache: process.argv[2], onWarning: (text) => warnings.push(text) });
      let sum = 0;
      for (let offset = 0; offset < source.size; offset += 1e5)
        for (const byte of await source.read(offset, Math.min(1e5, source.size - offset))) sum += byte;
      await source.close();
      console.log(JSON.stringify({ sum, warnings }));
    `;
    // Files of at most 100 kB: the writing of a piece fails as on a full disk.
    const script = 'ulimit -f 100; trap "" XFSZ; exec "$0" --input-type=module -e "$1" "$2" "$3"';
    const out = await new Promise<string>((resolve, reject) => {
      const args = ['-c', script, process.execPath, limited, server.url, folder];
      execFile('bash', args, { timeout: 30_000 }, (error, text) => (error ? reject(error) : resolve(text)));
    });
    const result = JSON.parse(out) as { sum: number; warnings: string[] };
    expect(result.sum).toBe(long.reduce((sum, byte) => sum + byte, 0));
    expect(result.warnings).toHaveLength(1);
    expect(result.warnings[0]).toMatch(/cannot be written: EFBIG.*loading goes on without it/);
    expect((await readdir(folder, { recursive: true })).filter((file) => file.endsWith('partial'))).toEqual(
      [],
    );
  });

  it('serves several loadings at once', async () => {
    using server = await serve((_path, response, request) => send(content, response, request));
    const both = await Promise.all([1, 2, 3].map(() => read(server.url)));
    for (const bytes of both) isContent(bytes);
    isContent(await read(server.url));
    expect(await pieces()).toHaveLength(3);
    expect(warnings).toEqual([]);
  });

  it('may be cleared while it is written', async () => {
    using server = await serve((_path, response, request) => send(content, response, request));
    const cache = await openCache(folder);
    const done = new AbortController();
    const clearing = (async () => {
      while (!done.signal.aborted) {
        await cache.clear();
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    for (let i = 0; i < 3; i++) isContent(await read(server.url));
    done.abort();
    await clearing;
    expect(warnings).toEqual([]);
  });

  it('is cleared by repository, revision, file or address, and leaves what is not its own', async () => {
    using server = await serve((_path, response, request) =>
      send(content.subarray(0, 10), response, request),
    );
    const given = { ...options, endpoint: server.url };
    const sources = ['hf:owner/name@main/a', 'hf:owner/name@main/b', 'hf:owner/name@v2/a', 'hf:owner/name2@main/a', `${server.url}/x/a`]; // prettier-ignore
    for (const source of sources) await read(source, given);
    await writeFile(join(folder, 'mine.txt'), 'mine');
    await mkdir(join(folder, 'f'.repeat(32)));
    await writeFile(join(folder, 'f'.repeat(32), 'mine.txt'), 'mine');
    const cache = await openCache(folder);
    const left = async () => (await cache.files()).map(({ source }) => source);
    expect(await left()).toEqual([...sources].sort());
    await cache.clear('hf:owner/name@main/a');
    expect(await left()).not.toContain(sources[0]);
    await cache.clear('hf:owner/name');
    expect(await left()).toEqual([sources[3], sources[4]].sort());
    await cache.clear(`${server.url}/y`);
    await cache.clear(server.url.slice(0, -1));
    expect(await left()).toEqual([sources[3], sources[4]].sort());
    await cache.clear(server.url);
    expect(await left()).toEqual([sources[3]]);
    await cache.clear();
    expect(await left()).toEqual([]);
    expect(await cache.bytes()).toBe(0);
    expect((await readdir(folder)).sort()).toEqual(['f'.repeat(32), 'mine.txt']);
    await expect(cache.clear('')).rejects.toThrow(ArgumentError);
  });

  it('removes what a killed process has left unfinished, a day later', async () => {
    using server = await serve((_path, response, request) =>
      send(content.subarray(0, 10), response, request),
    );
    await read(server.url);
    const group = join(folder, (await readdir(folder))[0]);
    const [old, fresh] = ['.x.1-0123abcd.partial', '.x.2-0123abcd.partial'].map((name) => join(group, name));
    for (const path of [old, fresh]) await writeFile(path, 'x');
    const yesterday = new Date(Date.now() - 25 * 3_600_000);
    await utimes(old, yesterday, yesterday);
    await read(server.url);
    expect((await readdir(group)).filter((name) => name.endsWith('partial'))).toEqual([
      '.x.2-0123abcd.partial',
    ]);
  });

  it.each<[string, Record<string, string | undefined>, NodeJS.Platform, string]>([
    ['XDG_CACHE_HOME', { XDG_CACHE_HOME: '/var/x' }, 'linux', '/var/x/freelunch/checkpoints'],
    ['~/.cache where it is relative', { XDG_CACHE_HOME: 'x' }, 'linux', `${homedir()}/.cache/freelunch/checkpoints`],
    ['~/.cache', { XDG_CACHE_HOME: undefined }, 'linux', `${homedir()}/.cache/freelunch/checkpoints`],
    ['~/Library/Caches', { XDG_CACHE_HOME: undefined }, 'darwin', `${homedir()}/Library/Caches/freelunch/checkpoints`],
    ['LOCALAPPDATA', { XDG_CACHE_HOME: undefined, LOCALAPPDATA: '/local' }, 'win32', '/local/freelunch/checkpoints'],
  ])('lies in %s', async (_title, env, platform, wanted) => {
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    using _spy = vi.spyOn(process, 'platform', 'get').mockReturnValue(platform);
    expect((await openCache()).where).toBe(wanted);
  }); // prettier-ignore

  it('with cache: true is the usual one', async () => {
    vi.stubEnv('XDG_CACHE_HOME', folder);
    using server = await serve((_path, response, request) =>
      send(content.subarray(0, 10), response, request),
    );
    await read(server.url, { cache: true });
    expect(await readdir(join(folder, 'freelunch', 'checkpoints'))).toHaveLength(1);
    expect(await (await openCache()).files()).toHaveLength(1);
  });
});

it('warns as the runtime does if it is not told how', async () => {
  using spy = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  using server = await serve((_path, response, request) => send(content, response, request, { etag: '' }));
  isContent(await read(server.url, { cache: folder }));
  expect(spy).toHaveBeenCalledTimes(1);
});

it.each([
  [{ cache: 1 }, /cache must be true, false or a folder, got 1/],
  [{ cache: '' }, /cache must be true, false or a folder/],
  [{ cache: 'a\0b' }, /cache must be true, false or a folder/],
  [{ onWarning: 'x' }, /onWarning must be a function/],
])('options %o are refused', async (given, message) => {
  const reading = urlSource('http://127.0.0.1:1', given as never);
  await expect(reading).rejects.toThrow(message);
  await expect(reading).rejects.toThrow(ArgumentError);
});
