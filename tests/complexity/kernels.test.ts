import { createHash } from 'node:crypto';
import { type Elements, kernelGrain, sum } from '@freelunch/complexity';
import { loadKernels, Tensor } from '@freelunch/kernels';
import { describe, expect, it } from 'vitest';
import { CountingKernels } from './counting.ts';
import { callsOf } from './kernels.ts';

const counting = await CountingKernels.load();
const plain = callsOf(await loadKernels({ variant: 'simd' }));
const calls = callsOf(counting.k);
const bytesOf = (elements: Elements) => 4 * sum(...Object.values(elements)).evaluate();

/** A digest of each output: what differs needs no list of its numbers. */
const bitsOf = (result: unknown): string[] =>
  (result instanceof Tensor ? [result] : Object.values(result ?? {})).map(({ data }: Tensor) =>
    createHash('sha256')
      .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
      .digest('hex'),
  );

it('computes the same bits as the kernels that do not count', () => {
  calls.forEach(({ name, run }, i) => {
    expect(bitsOf(run()), name).toEqual(bitsOf(plain[i].run()));
  });
});

describe.each(calls)('$name', ({ formula, run, inputs, updated = [], atMost = false, untraceable }) => {
  const { flops, macs, transcendentals, read, written } = formula(kernelGrain);

  it('executes as many operations as its formula says', () => {
    const counts = counting.count(run);
    expect(counts.macs).toBe(macs.evaluate());
    if (atMost) {
      // Sums shrink where a tile of keys has a new maximum: at most once a tile.
      expect(counts.flops).toBeLessThanOrEqual(flops.evaluate());
      expect(counts.flops).toBeGreaterThan(0.98 * flops.evaluate());
      expect(counts.transcendentals).toBeLessThanOrEqual(transcendentals.evaluate());
      expect(counts.transcendentals).toBeGreaterThan(0.96 * transcendentals.evaluate());
    } else {
      expect(counts.flops).toBe(flops.evaluate());
      expect(counts.transcendentals).toBe(transcendentals.evaluate());
    }
  });

  it.skipIf(untraceable !== undefined)('reads its inputs and writes its outputs', () => {
    expect(counting.traffic(inputs, updated, run)).toEqual({
      read: bytesOf(read),
      written: bytesOf(written),
    });
  });
});
