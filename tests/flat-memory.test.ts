import { gzipSync } from 'node:zlib';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { loadKernels } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import { random } from '@freelunch/random';
import { expect, it } from 'vitest';
import { normal, uniform } from './cases/case.ts';

it('does not grow after the first 100 of 10,000 rounds of forward, backward and dispose, over changing sizes', async () => {
  const k = await loadKernels({ variant: 'simd' });
  const rng = random(0);
  const give = ({ shape, data }: { shape: readonly number[]; data: Float32Array | Int32Array }) =>
    k.tensor(data as Float32Array, shape);
  const round = (i: number) => {
    const seqLen = 1 + (i % 7);
    const dInner = 4 + (i % 5);
    k.scope(() => {
      const scan = {
        u: give(normal(rng, [1, seqLen, dInner])),
        delta: give(uniform(rng, [1, seqLen, dInner], 0.01, 0.1)),
        A: give(uniform(rng, [dInner, 4], -2, -1)),
        B: give(normal(rng, [1, seqLen, 4])),
        C: give(normal(rng, [1, seqLen, 4])),
      };
      const { y } = k.selectiveScan(scan);
      k.selectiveScanBackward({ ...scan, dy: y });
      const heads = {
        q: give(normal(rng, [1, seqLen, 2, 4])),
        k: give(normal(rng, [1, seqLen, 2, 4])),
        v: give(normal(rng, [1, seqLen, 2, 4])),
      };
      const { o } = k.softmaxAttention({ ...heads, causal: true });
      k.softmaxAttentionBackward({ ...heads, causal: true, do: o });
      const linear = k.linearAttention({ ...heads, featureMap: 'elu1', normalize: true });
      k.linearAttentionBackward({ ...heads, featureMap: 'elu1', normalize: true, do: linear.o });
      const product = k.matmul({ a: y, b: scan.A });
      k.matmulBackward({ a: y, b: scan.A, dy: product });
    });
    // Outside a scope, freed one by one.
    const x = give(normal(rng, [dInner]));
    const z = k.silu({ x });
    const { dx } = k.siluBackward({ x, dy: z });
    for (const tensor of [x, z, dx]) tensor.dispose();
  };
  for (let i = 0; i < 100; i++) round(i);
  const { totalBytes } = k.memory;
  for (let i = 100; i < 10_000; i++) round(i);
  expect(k.memory).toMatchObject({ totalBytes, usedBytes: 0, tensors: 0 });
  expect(internalsOf(k).allocator.freeSpans).toBe(1);
});

it.each(['simd', 'relaxed-simd'])('has a binary of at most 200 KB after gzip: %s', async (variant) => {
  const bytes = await readFile(fileURLToPath(import.meta.resolve(`@freelunch/kernels/${variant}.wasm`)));
  expect(gzipSync(bytes).length).toBeLessThanOrEqual(200 * 1024);
});
