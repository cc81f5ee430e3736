import { loadKernels } from '@freelunch/kernels';
import { expect, inject, it } from 'vitest';
import { cases } from '../cases/index.ts';
import { digests } from '../digest.ts';

it('gives the same bits in Chromium as in Node, in every case, with the simd variant', async () => {
  const here = await digests(await loadKernels({ variant: 'simd' }));
  expect(Object.keys(here)).toHaveLength(cases.reduce((total, c) => total + c.sizes.length, 0));
  expect(here).toEqual(inject('nodeDigests'));
});
