import { loadKernels } from '@freelunch/kernels';
import { byteTokens, createModel, textBatches, train } from '@freelunch/models';
import { startWorker } from '@freelunch/models/worker';
import { expect, it } from 'vitest';

it('trains and generates in a worker of a page, which goes on drawing frames, in Chromium', async () => {
  const config = { vocabSize: 256, dModel: 64, nLayers: 2, mixer: { type: 'mamba' }, seed: 7 } as const;
  const text = byteTokens.encode('what is kept, and what is lost? '.repeat(100));
  const batches = () => textBatches(text, { batchSize: 4, seqLen: 128 });
  const k = await loadKernels({ variant: 'simd' });
  using here = createModel(k, config);
  const wanted: number[] = [];
  for await (const { loss } of train(here, batches(), { steps: 3 })) wanted.push(loss);
  for await (const token of here.generate([1, 2], { maxTokens: 5 })) wanted.push(token);

  using worker = await startWorker({ variant: 'simd' });
  const there = await worker.createModel(config);
  let longest = 0;
  let last = performance.now();
  let isDone = false;
  const tick = () => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
    if (!isDone) setTimeout(tick);
  };
  tick();
  const found: number[] = [];
  const begun = performance.now();
  for await (const { loss } of there.train(batches(), { steps: 3 })) found.push(loss);
  for await (const token of there.generate([1, 2], { maxTokens: 5 })) found.push(token);
  isDone = true;
  expect(found).toEqual(wanted);
  // One step here takes a third of this: the page would stand still for it.
  expect(longest).toBeLessThan((performance.now() - begun) / 4);
  await expect(worker.loadPretrained('/no/such/model/', { retries: 0 })).rejects.toThrow(
    `${location.origin}/no/such/model/: must hold config.json, got HTTP status 404`,
  );
});
