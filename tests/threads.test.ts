import { loadKernels } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import { describe, expect, it } from 'vitest';
import { digests } from './digest.ts';

const alone = await digests(await loadKernels({ variant: 'simd' }));

/** Kernels that share the smallest calls too. */
async function sharing(threads: number) {
  const k = await loadKernels({ variant: 'simd', threads });
  internalsOf(k).worthSharingNs = Number.MIN_VALUE;
  return k;
}

describe.each([2, 3, 7])('%i threads', (threads) => {
  it('give the bits of one, in every case', async () => {
    using k = await sharing(threads);
    expect(k.threads).toBe(threads);
    expect(await digests(k)).toEqual(alone);
    expect(internalsOf(k).pool!.jobs).toBeGreaterThan(0);
  });
});
