import { loadKernels } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { cases } from '../cases/index.ts';
import { digests } from '../digest.ts';

it('gives the same bits in Chromium as in Node, in every case, with the simd variant', async () => {
  const here = await digests(await loadKernels({ variant: 'simd' }));
  expect(Object.keys(here)).toHaveLength(cases.reduce((total, c) => total + c.sizes.length, 0));
  expect(here).toEqual(inject('nodeDigests'));
});

it('gives them with three threads too, though the page may not sleep', async () => {
  expect(crossOriginIsolated).toBe(true);
  using k = await loadKernels({ variant: 'simd', threads: 3 });
  internalsOf(k).worthSharingNs = 0;
  expect(await digests(k)).toEqual(inject('nodeDigests'));
  expect(internalsOf(k).pool!.shared.size).toBeGreaterThan(0);
});

describe('a page that is not cross-origin isolated', () => {
  afterEach(() => Reflect.deleteProperty(globalThis, 'crossOriginIsolated'));

  it('gets one thread where it asks for as many as there are, and is told the headers if it wants more', async () => {
    Object.defineProperty(globalThis, 'crossOriginIsolated', { configurable: true, value: false });
    expect((await loadKernels({ threads: 'auto' })).threads).toBe(1);
    await expect(loadKernels({ threads: 2 })).rejects.toThrow(
      /^loadKernels: threads 2: this page is not cross-origin isolated; .*Cross-Origin-Opener-Policy: same-origin.*Cross-Origin-Embedder-Policy: require-corp/,
    );
  });
});
