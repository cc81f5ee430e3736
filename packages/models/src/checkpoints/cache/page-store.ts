import { UnsupportedError } from '@freelunch/errors';
import type { Store, StoredKey } from './store.js';

const NAME = 'freelunch-checkpoints';
/** A host that cannot be: keys of the Cache API are URLs. */
const BASE = 'https://checkpoints.invalid/';

export async function openPageStore(): Promise<Store> {
  // Typed as there always, but absent from pages without a secure context, and from private windows of some browsers.
  const { caches } = globalThis as { caches?: CacheStorage };
  if (caches === undefined)
    throw new UnsupportedError('cache: this page has no Cache API; it needs https or localhost');
  let cache: Cache;
  try {
    cache = await caches.open(NAME);
  } catch (cause) {
    throw new UnsupportedError(
      `cache: this page may not use the Cache API, as in private windows: ${(cause as Error).message}`,
      { cause },
    );
  }
  return {
    where: `Cache API, ${NAME}`,
    async get(key) {
      const response = await cache.match(BASE + key);
      return response === undefined ? undefined : new Uint8Array(await response.arrayBuffer());
    },
    async put(key, parts) {
      const body = new Blob(parts as Uint8Array<ArrayBuffer>[]);
      await cache.put(BASE + key, new Response(body, { headers: { 'content-length': String(body.size) } }));
    },
    async delete(key) {
      await cache.delete(BASE + key);
    },
    async keys(group) {
      const found: StoredKey[] = [];
      for (const request of await cache.keys()) {
        const key = request.url.slice(BASE.length);
        if (!request.url.startsWith(BASE) || (group !== undefined && !key.startsWith(`${group}/`))) continue;
        const response = await cache.match(request);
        if (response !== undefined)
          found.push({ key, bytes: Number(response.headers.get('content-length') ?? 0) });
      }
      return found;
    },
  };
}
