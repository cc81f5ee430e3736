import { readFile } from 'node:fs/promises';
import type { Variant } from '@freelunch/kernels';

const OPERATIONS_PER_ROUND = 768;
const READ_BYTES = 64 * 2 ** 20; // beyond the caches

/** The limits of this machine through WASM, each measured when asked: machines are noisy, so it is asked beside every figure. */
export interface Machine {
  /** Peak of madd in GFLOP/s: multiply and add, or fused in `relaxed-simd`. The best of a few passes of about 10 ms. */
  peakGflops(): number;
  /** Reading memory in GB/s, from a range that no cache holds. */
  readGBps(): number;
}

export async function loadMachine(variant: Variant): Promise<Machine> {
  const bytes = await readFile(new URL(`../build/${variant}.wasm`, import.meta.url));
  const memory = new WebAssembly.Memory({ initial: READ_BYTES / 65536 + 1 });
  const { instance } = await WebAssembly.instantiate(bytes as BufferSource, { env: { memory } });
  const { multiplyAdd, readAll } = instance.exports as Record<string, (...args: number[]) => number>;
  new Uint8Array(memory.buffer).fill(0);

  const best = (passes: number, run: () => void): number => {
    let bestMs = Infinity;
    for (let pass = 0; pass < passes; pass++) {
      const start = performance.now();
      run();
      bestMs = Math.min(bestMs, performance.now() - start);
    }
    return bestMs;
  };
  const rounds = 200_000;
  multiplyAdd(rounds, 0.999, 0.001); // compiles it
  readAll(65536, READ_BYTES);
  return {
    peakGflops: () =>
      (OPERATIONS_PER_ROUND * rounds) / best(4, () => multiplyAdd(rounds, 0.999, 0.001)) / 1e6,
    readGBps: () => READ_BYTES / best(4, () => readAll(65536, READ_BYTES)) / 1e6,
  };
}
