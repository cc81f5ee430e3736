import { loadKernels } from '@freelunch/kernels';
import { loadPretrained } from '@freelunch/models';
import { expect, inject, it } from 'vitest';

it('a checkpoint that another origin packs loads in Chromium, to the bits of Node', async () => {
  const k = await loadKernels({ variant: 'simd' });
  const { url, logits } = inject('packedCheckpoint');
  const model = await loadPretrained(k, url);
  expect(k.scope(() => [...model.forward([1, 2, 3]).data])).toEqual(logits);
  model.dispose();
});
