import { loadKernels } from '@freelunch/kernels';
import { type LoadPretrainedOptions, loadPretrained, openCache, urlSource } from '@freelunch/models';
import { cdp } from 'vitest/browser';
import { afterEach, beforeEach, describe, expect, inject, it, vi } from 'vitest';

const k = await loadKernels({ variant: 'simd' });
const { url, logits } = inject('cachedCheckpoint');
const NAME = 'freelunch-checkpoints';
const PIECE = 8 * 2 ** 20;

interface Asked {
  host: string;
  path: string;
  range?: string;
  authorization?: string;
}

/** What the server was asked since the last call. */
const log = async (): Promise<Asked[]> => (await fetch(`${url}/log`)).json() as Promise<Asked[]>;
/** Of requests for weights, where each began. */
const weightsOf = (asked: readonly Asked[]) =>
  asked.filter(({ path }) => path.endsWith('model.safetensors')).map(({ range }) => range);

let warnings: string[];
beforeEach(async () => {
  warnings = [];
  await caches.delete(NAME);
  await log();
});
afterEach(() => caches.delete(NAME));

async function expectLoads(kind: string, options: LoadPretrainedOptions = {}): Promise<Asked[]> {
  const onWarning = (message: string) => void warnings.push(message);
  const model = await loadPretrained(k, `${url}/${kind}`, { cache: true, onWarning, ...options });
  expect(k.scope(() => [...model.forward([1, 2, 3], { lastOnly: true }).data.subarray(0, 100)])).toEqual(
    logits,
  );
  model.dispose();
  return log();
}

const totals = async () => {
  const cache = await openCache();
  return { bytes: await cache.bytes(), files: await cache.files() };
};

describe('a cached checkpoint of another origin, in Chromium', () => {
  it.each(['exposed', 'dated'])(
    'is complete after one loading, and used while it is unchanged: %s',
    async (kind) => {
      expect(weightsOf(await expectLoads(kind))).toEqual([undefined]);
      const { bytes, files } = await totals();
      expect(files.map(({ source, complete }) => [source, complete])).toEqual([
        [`${url}/${kind}/config.json`, true],
        [`${url}/${kind}/model.safetensors`, true],
      ]);
      expect(files.reduce((total, file) => total + file.bytes, 0)).toBe(bytes);
      // A server that is asked whether it has changed would send all again, were the copy not used: nothing is read on.
      expect(weightsOf(await expectLoads(kind))).toEqual([undefined]);
      expect(warnings).toEqual([]);
      const cache = await openCache();
      await cache.clear(`${url}/${kind}`);
      expect(await totals()).toEqual({ bytes: 0, files: [] });
    },
  );

  it('is continued by a Range where the connection breaks, and from its pieces in a later loading', async () => {
    const [first, second, ...others] = weightsOf(await expectLoads('broken'));
    expect([first, others]).toEqual([undefined, []]);
    // A page does not get what it has not read yet when the connection breaks.
    const start = Number(/^bytes=(\d+)-$/.exec(second!)![1]);
    expect(start).toBeGreaterThanOrEqual(PIECE);
    expect(start).toBeLessThanOrEqual(10_000_000);
    await (await openCache()).clear();
    await expect(expectLoads('broken', { retries: 0 })).rejects.toThrow(/cannot be read/);
    await log();
    expect(weightsOf(await expectLoads('broken'))).toEqual([undefined, `bytes=${PIECE}-`]);
  });

  it('begins anew where it breaks and is packed, which the page may not see', async () => {
    expect(weightsOf(await expectLoads('packed'))).toEqual([
      undefined,
      expect.stringMatching(/^bytes=\d+-$/),
      undefined,
    ]);
    expect(warnings).toEqual([]);
  });

  it('is fetched again in the piece that is not as it was written', async () => {
    await expectLoads('exposed');
    const cache = await caches.open(NAME);
    const second = (await cache.keys()).find(({ url }) => url.endsWith('-1'))!;
    const bytes = new Uint8Array(await (await cache.match(second))!.arrayBuffer());
    bytes[99] ^= 1;
    await cache.put(second, new Response(bytes));
    expect(weightsOf(await expectLoads('exposed'))).toEqual([undefined, `bytes=${PIECE}-`]);
    expect(warnings.join()).toMatch(/not as it was written/);
  });

  it('loads in two loadings at once', async () => {
    const model = () => loadPretrained(k, `${url}/exposed`, { cache: true });
    for (const loaded of await Promise.all([model(), model()])) loaded.dispose();
    expect((await totals()).files.every(({ complete }) => complete)).toBe(true);
    await log();
    expect(weightsOf(await expectLoads('exposed'))).toEqual([undefined]);
  });
});

describe('a page that may keep nothing more', () => {
  afterEach(async () => {
    await cdp().send('Storage.overrideQuotaForOrigin', { origin: location.origin });
  });

  it('loads all the same, and is told', async () => {
    await cdp().send('Storage.overrideQuotaForOrigin', { origin: location.origin, quotaSize: 12_000_000 });
    await expectLoads('exposed');
    expect(warnings).toEqual([expect.stringMatching(/^cache: .*quota.*; loading goes on without it$/i)]);
  });
});

describe('a page without the Cache API', () => {
  const original = Object.getOwnPropertyDescriptor(globalThis, 'caches')!;
  afterEach(() => Object.defineProperty(globalThis, 'caches', original));

  it.each([
    ['there is none', undefined, /no Cache API; it needs https or localhost/],
    [
      'it is refused, as in private windows',
      { open: () => Promise.reject(new DOMException('denied', 'SecurityError')) },
      /may not use the Cache API, as in private windows: denied/,
    ],
  ])('loads all the same where %s, and is told', async (_title, value, message) => {
    Object.defineProperty(globalThis, 'caches', { configurable: true, value });
    await expectLoads('exposed');
    expect(warnings).toEqual([expect.stringMatching(message)]);
    await expect(openCache()).rejects.toThrow(message);
    await expect(openCache('folder')).rejects.toThrow(/cache must be true or false in this runtime/);
    Object.defineProperty(globalThis, 'caches', original);
  });
});

it('a page that a bundler has given a process loads and caches as others do', async () => {
  vi.stubGlobal('process', { env: {}, versions: {}, browser: true });
  try {
    expect(weightsOf(await expectLoads('exposed'))).toEqual([undefined]);
    expect((await totals()).files.map(({ complete }) => complete)).toEqual([true, true]);
    expect(warnings).toEqual([]);
  } finally {
    vi.unstubAllGlobals();
  }
});

it('a token is not sent on by Chromium to another host', async () => {
  const source = (await urlSource(`${url}/away/config.json`, { token: 'hf_secret' }))!;
  await source.close();
  const [home, other] = await log();
  expect(home).toMatchObject({ host: 'home', authorization: 'Bearer hf_secret' });
  expect(other.host).toBe('other');
  expect(other.authorization).toBeUndefined();
});

it('reads a path from the server of the page, in Chromium', async () => {
  await expect(loadPretrained(k, '/no/such/model/', { retries: 0 })).rejects.toThrow(
    `${location.origin}/no/such/model/: must hold config.json, got HTTP status 404`,
  );
});
