import { readFile } from 'node:fs/promises';
import type { Variant } from '@freelunch/kernels';

/** Loops that do nothing but arithmetic, with the operations of a round. Which is fastest depends on the machine. */
const loops: Record<string, number> = { multiplyAdd10: 80, multiplyAdd11: 88, multiplyAdd12: 96 };
const READ_BYTES = 64 * 2 ** 20; // beyond the caches

/** The limits of this machine through WASM, each measured when asked: machines are noisy, so it is asked beside every figure. */
export interface Machine {
  /** Peak of madd in GFLOP/s: multiply and add, or fused in `relaxed-simd`. The best of a few passes of some milliseconds. */
  peakGflops(): number;
  /** Reading memory in GB/s, from a range that no cache holds. */
  readGBps(): number;
}

export async function loadMachine(variant: Variant): Promise<Machine> {
  const bytes = await readFile(new URL(`../build/${variant}.wasm`, import.meta.url));
  const memory = new WebAssembly.Memory({ initial: READ_BYTES / 65536 + 1 });
  const { instance } = await WebAssembly.instantiate(bytes as BufferSource, { env: { memory } });
  const wasm = instance.exports as Record<string, (...args: number[]) => number>;
  new Float32Array(memory.buffer).fill(0.5); // x = 0.5 x + 0.5 stays a normal number

  const best = (passes: number, run: () => void): number => {
    let bestMs = Infinity;
    for (let pass = 0; pass < passes; pass++) {
      const start = performance.now();
      run();
      bestMs = Math.min(bestMs, performance.now() - start);
    }
    return bestMs;
  };
  const rounds = 1_000_000;
  const peakOf = (loop: string): number => {
    const bestMs = best(4, () => wasm[loop](rounds, 65536));
    return (loops[loop] * rounds) / bestMs / 1e6;
  };
  Object.keys(loops).forEach(peakOf); // compiles them
  return {
    peakGflops: () => Math.max(...Object.keys(loops).map(peakOf)),
    readGBps: () => READ_BYTES / best(4, () => wasm.readAll(65536, READ_BYTES)) / 1e6,
  };
}
