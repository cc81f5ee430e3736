import { gzipSync } from 'node:zlib';
import { inspect } from 'node:util';
import { ArgumentError, FileError, FormatError } from '@freelunch/errors';
import { loadKernels } from '@freelunch/kernels';
import { afterAll, describe, expect, it } from 'vitest';
import { configJson, createModel, type SourceOptions } from '../index.js';
import { loadTokenizer } from '../tokenizer.js';
import { type Asked, type Reply, send, type Sending, serve } from '../../tests/server.js';
import { loadPretrained } from './checkpoint.js';
import { encodeSafetensors } from './safetensors.js';
import { urlSource } from './url-source.js';

const content = Uint8Array.from({ length: 3_000_001 }, (_, i) => (i * 2654435761) >>> 24);

/** All bytes of a URL, in pieces as a loader reads them. */
async function read(url: string, options: SourceOptions = {}): Promise<Uint8Array> {
  const source = (await urlSource(url, options))!;
  const bytes: Uint8Array[] = [];
  try {
    for (let offset = 0; ;) {
      const length = source.size === undefined ? 100_000 : Math.min(100_000, source.size - offset);
      const piece = (await source.read(offset, length)).slice();
      bytes.push(piece);
      offset += piece.length;
      if (piece.length < 100_000) return new Uint8Array(Buffer.concat(bytes));
    }
  } finally {
    await source.close();
  }
}

const expectContent = (bytes: Uint8Array) => expect(Buffer.compare(bytes, content)).toBe(0);
const ranges = (asked: readonly Asked[]) => asked.map(({ headers }) => headers.range);

describe('a broken transfer', () => {
  it('continues by ranges from where it stopped', async () => {
    let count = 0;
    using server = await serve((_path, response, request) =>
      send(content, response, request, { breakAfter: count++ < 2 ? 1_200_000 : undefined }),
    );
    expectContent(await read(server.url));
    expect(ranges(server.asked)).toEqual([undefined, 'bytes=1200000-', 'bytes=2400000-']);
  });

  it.each<[string, Sending]>([
    ['an ETag', { etag: '"a"' }],
    ['a weak ETag', { etag: 'W/"a"' }],
    ['a date', { etag: '', modified: 'Sat, 01 Jan 2022 00:00:00 GMT' }],
  ])('begins anew on a server without ranges that names its files by %s', async (_title, sending) => {
    let count = 0;
    using server = await serve((_path, response, request) =>
      send(content, response, request, {
        ...sending,
        ignoreRanges: true,
        breakAfter: count++ === 0 ? 1_200_000 : undefined,
      }),
    );
    expectContent(await read(server.url));
    expect(server.asked).toHaveLength(2);
  });

  it('that is compressed begins anew, without ranges', async () => {
    const packed = gzipSync(content);
    using server = await serve((_path, response) => {
      const headers = { etag: '"1"', 'content-encoding': 'gzip', 'content-length': packed.length };
      response.writeHead(200, headers);
      if (server.asked.length > 1) return void response.end(packed);
      response.write(packed.subarray(0, packed.length / 2), () => setTimeout(() => response.destroy(), 20));
    });
    expectContent(await read(server.url));
    expect(ranges(server.asked)).toEqual([undefined, undefined]);
  });

  it('begins anew where the server continues at another place', async () => {
    using server = await serve((_path, response, request) => {
      if (server.asked.length !== 2)
        return send(content, response, request, { breakAfter: server.asked.length === 1 ? 9e5 : undefined });
      const range = `bytes 5-${content.length - 1}/${content.length}`;
      response.writeHead(206, { etag: '"1"', 'content-range': range }).end(content.subarray(5));
    });
    expectContent(await read(server.url));
    expect(ranges(server.asked)).toEqual([undefined, 'bytes=900000-', undefined]);
  });

  it.each<[string, Sending]>([
    ['', {}],
    [', without ranges', { ignoreRanges: true }],
  ])('ends with a FileError if the file has changed meanwhile%s', async (_title, sending) => {
    using server = await serve((_path, response, request) => {
      const [etag, breakAfter] = server.asked.length === 1 ? ['"old"', 1_200_000] : ['"new"', undefined];
      send(content, response, request, { ...sending, etag, breakAfter });
    });
    const reading = read(server.url);
    await expect(reading).rejects.toThrow(/changed while it was read: it was "old", is "new"$/);
    await expect(reading).rejects.toThrow(FileError);
    expect(server.asked).toHaveLength(2);
  });

  it('ends with a FileError if it is shorter now, gone, or nothing names the content', async () => {
    const later: Reply[] = [
      (_path, response) => response.writeHead(416, { etag: '"1"' }).end(),
      (_path, response) => response.writeHead(404).end(),
    ];
    for (const [reply, message] of [
      [later[0], /changed while it was read: it ends before byte 1200000/],
      [later[1], /is there no more \(HTTP status 404\)/],
    ] as const) {
      using server = await serve((path, response, request) => {
        if (server.asked.length > 1) return reply(path, response, request);
        send(content, response, request, { breakAfter: 1_200_000 });
      });
      const reading = read(server.url);
      await expect(reading).rejects.toThrow(message);
      await expect(reading).rejects.toThrow(FileError);
    }
    using unnamed = await serve((_path, response, request) =>
      send(content, response, request, { etag: '', breakAfter: 1_200_000 }),
    );
    await expect(read(unnamed.url)).rejects.toThrow(/byte 1200000: the server gives neither ETag nor/);
    expect(unnamed.asked).toHaveLength(1);
  });

  it('is continued as often as `retries` says, and more often as long as it gets on', async () => {
    let breakAfter = 10;
    using server = await serve((_path, response, request) =>
      send(content, response, request, { breakAfter }),
    );
    const reading = read(server.url, { retries: 1 });
    await expect(reading).rejects.toThrow(FileError);
    await expect(reading).rejects.toThrow(/cannot be read/);
    expect(ranges(server.asked)).toEqual([undefined, 'bytes=10-']);
    server.asked.length = 0;
    breakAfter = 1_000_000;
    expectContent(await read(server.url, { retries: 1 }));
    expect(server.asked).toHaveLength(4);
    server.asked.length = 0;
    await expect(read(server.url, { retries: 0 })).rejects.toThrow(FileError);
    expect(server.asked).toHaveLength(1);
  });

  it('of a checkpoint leaves the weights as they are on the server', async () => {
    const k = await loadKernels({ variant: 'simd' });
    using model = createModel(k, { vocabSize: 11, dModel: 6, nLayers: 2, mixer: { type: 'mamba' } });
    const files: Record<string, Uint8Array> = {
      'config.json': new TextEncoder().encode(configJson(model.config)),
      'model.safetensors': encodeSafetensors(model.parameters()),
    };
    let broken = 0;
    using server = await serve((path, response, request) =>
      send(files[path], response, request, { breakAfter: broken++ < 3 ? 700 : undefined }),
    );
    using back = await loadPretrained(k, server.url);
    for (const [name, tensor] of model.parameters())
      expect(back.parameters().get(name)!.toArray()).toEqual(tensor.toArray());
    expect(broken).toBeGreaterThan(3);
  });
});

it('a shard that changes between its header and its weights gives a FileError', async () => {
  const k = await loadKernels({ variant: 'simd' });
  using model = createModel(k, { vocabSize: 11, dModel: 6, nLayers: 2, mixer: { type: 'mamba' } });
  const weight_map = Object.fromEntries(
    [...model.parameters().keys()].map((name) => [name, 'all.safetensors']),
  );
  const files: Record<string, Uint8Array> = {
    'config.json': new TextEncoder().encode(configJson(model.config)),
    'model.safetensors.index.json': new TextEncoder().encode(JSON.stringify({ weight_map })),
    'all.safetensors': encodeSafetensors(model.parameters()),
  };
  let changed = false;
  using server = await serve((path, response, request) => {
    const content = files[path];
    if (content === undefined) return void response.writeHead(404).end();
    send(content, response, request, { etag: changed ? '"2"' : '"1"' });
    changed ||= path === 'all.safetensors';
  });
  const loading = loadPretrained(k, server.url);
  await expect(loading).rejects.toThrow(/changed while it was read: it was "1", is "2"/);
  await expect(loading).rejects.toThrow(FileError);
});

describe('a server', () => {
  it('that is busy is asked again, after as long as it says', async () => {
    for (const [status, headers] of [
      [503, { 'retry-after': '1' }],
      [429, { 'retry-after': new Date(Date.now() + 2000).toUTCString() }],
      [500, {}],
    ] as const) {
      using server = await serve((_path, response, request) => {
        if (server.asked.length > 1) return send(content, response, request);
        response.writeHead(status, headers).end('busy');
      });
      const start = performance.now();
      expectContent(await read(server.url));
      if (status === 503) expect(performance.now() - start).toBeGreaterThan(990);
      expect(server.asked).toHaveLength(2);
    }
  });

  it('that stays busy, or asks to wait for too long, gives a FileError', async () => {
    using busy = await serve((_path, response) => response.writeHead(503).end());
    await expect(read(busy.url, { retries: 1 })).rejects.toThrow(/must be a file, got HTTP status 503$/);
    expect(busy.asked).toHaveLength(2);
    using slow = await serve((_path, response) => response.writeHead(429, { 'retry-after': '3600' }).end());
    const reading = read(slow.url);
    await expect(reading).rejects.toThrow(/got HTTP status 429; it asks to wait 3600 s$/);
    await expect(reading).rejects.toThrow(FileError);
    expect(slow.asked).toHaveLength(1);
  });

  it('is not waited for after an abort', async () => {
    using server = await serve((_path, response) => response.writeHead(503, { 'retry-after': '30' }).end());
    const reason = new Error('enough');
    const abort = new AbortController();
    setTimeout(() => abort.abort(reason), 100);
    const start = performance.now();
    await expect(read(server.url, { signal: abort.signal })).rejects.toBe(reason);
    expect(performance.now() - start).toBeLessThan(5000);
  });

  it('that redirects for ever, or to what is no URL of http, gives a FileError', async () => {
    using server = await serve((_path, response) => response.writeHead(302, { location: '/x' }).end());
    await expect(read(server.url)).rejects.toThrow(/redirects more than 10 times/);
    for (const location of ['file:///etc/passwd', 'http://[', '']) {
      using other = await serve((_path, response) => response.writeHead(302, { location }).end());
      await expect(read(other.url)).rejects.toThrow(
        /redirects to what is no URL of http or https$|more than/,
      );
      await expect(read(other.url)).rejects.toThrow(FileError);
    }
  });
});

describe('secrets', () => {
  const token = 'hf_verySecret';
  const options = { token, headers: { 'X-Key': 'alsoSecret' } };
  const keys = ({ headers }: Asked) => [headers.authorization, headers['x-key']];
  const sent = [`Bearer ${token}`, 'alsoSecret'];
  const nothing = [undefined, undefined];

  it('go to the host of the source, along its own redirects, and to no other, nor back', async () => {
    using store = await serve((path, response, request) => {
      if (path === 'a') response.writeHead(302, { location: `${home.url}/last` }).end();
      else send(content, response, request);
    });
    using home = await serve((path, response, request) => {
      if (path === 'start') response.writeHead(307, { location: '/second' }).end();
      else if (path === 'second') response.writeHead(302, { location: `${store.url}/a` }).end();
      else send(content, response, request);
    });
    expectContent(await read(`${home.url}/start`, options));
    expect(home.asked.map((asked) => [asked.path, ...keys(asked)])).toEqual([
      ['start', ...sent],
      ['second', ...sent],
      ['last', ...nothing],
    ]);
    expect(store.asked.map(keys)).toEqual([nothing]);
  });

  it('are sent again with each try, to the host of the source alone', async () => {
    using store = await serve((_path, response, request) =>
      send(content, response, request, { breakAfter: store.asked.length === 1 ? 1e6 : undefined }),
    );
    using home = await serve((_path, response) => response.writeHead(302, { location: store.url }).end());
    expectContent(await read(home.url, options));
    expect(home.asked.map(keys)).toEqual([sent, sent]);
    expect(store.asked.map(keys)).toEqual([nothing, nothing]);
    expect(ranges(store.asked)).toEqual([undefined, 'bytes=1000000-']);
  });

  it('are in no error', async () => {
    using broken = await serve((_path, response, request) => {
      if (broken.asked.length > 1) response.writeHead(500).end();
      else send(content, response, request, { breakAfter: 1e6 });
    });
    using away = await serve((_path, response) =>
      response.writeHead(302, { location: 'http://127.0.0.1:1/?signature=alsoSecret' }).end(),
    );
    const failing = [
      ...[broken, away].map(({ url }) => read(`${url}/?key=alsoSecret`, { ...options, retries: 1 })),
      read('http://127.0.0.1:1/?key=alsoSecret', { ...options, retries: 0 }),
      read('http://user:alsoSecret@127.0.0.1:1/', options),
      read(away.url, { token: `${token}\n` }),
      read(away.url, { headers: { 'X-Key': 'alsoSecret\n\nx' } }),
      read(away.url, { headers: { 'X Key': 'alsoSecret' } }),
      read(away.url, { token, headers: { Authorization: 'alsoSecret' } }),
      read(away.url, { endpoint: 'https://user:alsoSecret@host' }),
    ];
    for (const outcome of await Promise.allSettled(failing)) {
      const { reason } = outcome as PromiseRejectedResult;
      expect(reason).toBeInstanceOf(reason instanceof ArgumentError ? ArgumentError : FileError);
      expect(inspect(reason, { depth: 20, showHidden: true })).not.toMatch(/secret/i);
    }
  });

  it('are asked for by a server of gated files, which the error says', async () => {
    using server = await serve((_path, response, request) => {
      if (request.headers.authorization === undefined) response.writeHead(401).end();
      else response.writeHead(403).end();
    });
    const k = await loadKernels({ variant: 'simd' });
    const loading = loadPretrained(k, server.url);
    await expect(loading).rejects.toThrow(
      /config.json, got HTTP status 401; if it is gated or private, give a token$/,
    );
    await expect(loading).rejects.toThrow(FormatError);
    await expect(loadTokenizer(server.url, { token })).rejects.toThrow(/403 to the token or headers given$/);
  });
});

describe('a repository of Hugging Face', async () => {
  const k = await loadKernels({ variant: 'simd' });
  const model = createModel(k, { vocabSize: 11, dModel: 6, nLayers: 2, mixer: { type: 'mamba' } });
  afterAll(() => model.dispose());
  const files: Record<string, Uint8Array> = {
    'config.json': new TextEncoder().encode(configJson(model.config)),
    'model.safetensors': encodeSafetensors(model.parameters()),
  };
  const reply: Reply = (path, response, request) => {
    const file = files[path.slice(path.lastIndexOf('/') + 1)];
    if (file === undefined) response.writeHead(404).end();
    else send(file, response, request);
  };

  it.each([
    ['hf:owner/some.name-1', 'owner/some.name-1/resolve/main/'],
    ['hf:owner/name@v1.0', 'owner/name/resolve/v1.0/'],
    ['hf:owner/name@refs/pr/3', 'owner/name/resolve/refs%2Fpr%2F3/'],
    ['hf:owner/name@a%2Fb/small/one', 'owner/name/resolve/a%2Fb/small/one/'],
    ['hf:owner/name/small', 'owner/name/resolve/main/small/'],
    ['hf:owner/name@main/with space#1?', 'owner/name/resolve/main/with%20space%231%3F/'],
  ])('%s lies at %s of the endpoint', async (source, path) => {
    using server = await serve(reply);
    using back = await loadPretrained(k, source, { endpoint: `${server.url}/mirror/` });
    expect(back.parameterCount).toBe(model.parameterCount);
    const paths = server.asked.map((asked) => asked.path);
    expect(paths).toEqual(['config.json', 'model.safetensors'].map((file) => `mirror/${path}${file}`));
  });

  it.each([
    'hf:', 'hf:gpt2', 'hf:/name', 'hf:owner/', 'hf:owner/name@', 'hf:owner/name@/x', 'hf:owner/../x', 'hf:owner/name/../../x',
    'hf:owner/name@%2E%2E', 'hf:owner/name@%', 'hf:owner/name//x', 'hf:own er/name', 'hf:owner/name@a\\b', 'hf:@main/owner/name',
  ])('%s is refused', async (source) => {
    const loading = loadPretrained(k, source, { endpoint: 'http://127.0.0.1:1', retries: 0 });
    await expect(loading).rejects.toThrow(/source must be 'hf:owner\/name'/);
    await expect(loading).rejects.toThrow(ArgumentError);
  }); // prettier-ignore

  it('is read from the commit that its branch is at when the first file comes', async () => {
    const commit = '0123456789abcdef0123456789abcdef01234567';
    using server = await serve((path, response, request) => {
      response.setHeader('x-repo-commit', commit);
      reply(path, response, request);
    });
    using back = await loadPretrained(k, 'hf:owner/name', { endpoint: server.url });
    expect(back.parameterCount).toBe(model.parameterCount);
    expect(server.asked.map(({ path }) => path)).toEqual([
      'owner/name/resolve/main/config.json',
      `owner/name/resolve/${commit}/model.safetensors`,
    ]);
  });

  it('gives single files to urlSource', async () => {
    using server = await serve(reply);
    const source = (await urlSource('hf:owner/name@v2/config.json', { endpoint: server.url }))!;
    expect(await source.read(0, source.size!)).toEqual(files['config.json']);
    await source.close();
    expect(await urlSource('hf:owner/name/absent.gguf', { endpoint: server.url })).toBeUndefined();
    await expect(urlSource('hf:owner/name', { endpoint: server.url })).rejects.toThrow(/must name a file/);
  });

  it('is known by the digest that is named before a redirect, and goes on from another address', async () => {
    const linked = '"4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"';
    using store = await serve((path, response, request) =>
      send(content, response, request, { etag: `"${path}"`, breakAfter: path === '1' ? 1e6 : undefined }),
    );
    using server = await serve((_path, response) => {
      const location = `${store.url}/${server.asked.length}`;
      response.writeHead(302, { location, 'x-linked-etag': linked }).end();
    });
    expectContent(await read('hf:owner/name/x.bin', { endpoint: server.url }));
    expect(store.asked.map(({ path, headers }) => [path, headers.range])).toEqual([
      ['1', undefined],
      ['2', 'bytes=1000000-'],
    ]);
  });
});

it.each([
  [{ retries: -1 }, /retries must be a whole number from 0 up, got -1/],
  [{ retries: 1.5 }, /retries must be/],
  [{ timeoutMs: 0 }, /timeoutMs must be a number above 0/],
  [{ headers: 'x' }, /headers must be an object of texts/],
  [{ headers: { a: 1 } }, /headers: 'a' must be a text/],
  [{ headers: { Range: 'bytes=0-1' } }, /headers must not have 'Range'/],
  [{ token: '' }, /token must be a text of visible ASCII/],
  [{ token: 7 }, /token must be a text of visible ASCII/],
  [{ endpoint: 'huggingface.co' }, /endpoint must be a URL, got 'huggingface.co'/],
  [{ endpoint: 'ftp://x' }, /endpoint must be a URL of http or https/],
  [{ tokn: 'x' }, /did you mean 'token'/],
])('options %o are refused', async (options, message) => {
  const reading = read('http://127.0.0.1:1', options as never);
  await expect(reading).rejects.toThrow(message);
  await expect(reading).rejects.toThrow(ArgumentError);
});
