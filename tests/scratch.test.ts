import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

// The binary itself: `loadKernels` wraps its functions, which hides how many sizes they take.
const file = fileURLToPath(import.meta.resolve('@freelunch/kernels/simd.wasm'));
const memory = new WebAssembly.Memory({ initial: 16 });
const { instance } = await WebAssembly.instantiate(await readFile(file), { env: { memory } });
const wasm = instance.exports as Record<string, (...sizes: number[]) => number>;
const exported = Object.entries(wasm).filter(([name]) => name.endsWith('Bytes'));

/** Sizes up to the largest that a kernel can be given, 2^31 - 1. */
const sizes = [1, 2, 7, 8, 40, 1024, 2 ** 16, 2 ** 20, 2 ** 26, 2 ** 30, 2 ** 31 - 1];

/** Kernels whose working memory does not grow with any size past a block. */
const bounded = ['matmulForwardScratchBytes'];

/** Sizes that need not need more memory: with longer chunks there are fewer states to keep. */
const freeSizes: Record<string, number[]> = {
  ssdChunkedBackwardScratchBytes: [4],
  ssdChunkedBackwardSharedBytes: [7],
  mamba3ChunkedBackwardScratchBytes: [5],
  mamba3ChunkedBackwardSharedBytes: [8], // heads that have angles of their own share none
};

describe.each(exported)('%s', (name, scratchBytes) => {
  const all = (size: number) => Array.from({ length: scratchBytes.length }, () => size);

  it('is named after its kernel', () => {
    expect(name).toMatch(/(Scratch|Shared)Bytes$/);
    expect(wasm[name.replace(/(Scratch|Shared)Bytes$/, '')]).toBeTypeOf('function');
  });

  it('grows with each size, and never wraps', () => {
    for (const base of sizes) {
      for (let i = 0; i < scratchBytes.length; i++) {
        if (freeSizes[name]?.includes(i)) continue;
        let last = 0;
        for (const size of sizes) {
          const bytes = scratchBytes(...all(base).with(i, size));
          expect(Number.isInteger(bytes), `whole bytes at size ${size} among ${base}`).toBe(true);
          expect(bytes, `size ${size} of argument ${i} among ${base}`).toBeGreaterThanOrEqual(last);
          last = bytes;
        }
      }
    }
    const most = scratchBytes(...all(2 ** 31 - 1));
    if (bounded.includes(name)) expect(most).toBe(scratchBytes(...all(2 ** 16)));
    else expect(most).toBeGreaterThan(2 ** 32);
  });
});

it('finds the kernels that need working memory', () => {
  expect(exported.length).toBeGreaterThan(bounded.length);
});

it('keeps static data away from address 0, which stands for an absent argument', () => {
  const first = new Uint8Array(memory.buffer).findIndex((byte) => byte !== 0);
  expect(first).toBeGreaterThanOrEqual(1024);
  expect(first).toBeLessThan(wasm.heapBase());
});
