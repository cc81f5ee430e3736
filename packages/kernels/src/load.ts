import { instantiate } from '@assemblyscript/loader';
import { bytesOf, compile, doesNotStart, notABinary, readBinary, type WasmSource } from './binary.js';
import type { Variant } from './context.js';
import { ArgumentError, checkOptions, OutOfMemoryError, show, UnsupportedError } from '@freelunch/errors';
import { createKernels, type Kernels } from './kernels.js';
import { Allocator, PAGE_BYTES } from './memory.js';
import { Pool } from './threads/pool.js';
import { MOST_SHARED_PAGES, withSharedMemory } from './threads/shared-memory.js';
import { countCores, whyNoThreads } from './threads/spawn.js';
import type { WasmExports } from './wasm-exports.js';

export type { WasmSource } from './binary.js';

export interface LoadOptions {
  /**
   * `'auto'` (default): `relaxed-simd` where the runtime has it, else `simd`. `'simd'`: the deterministic binary,
   * the same bits in every runtime. `'relaxed-simd'`: fused multiply-add, faster, an error where it is missing.
   */
  variant?: 'auto' | Variant;
  /** The binary itself, for runtimes that compile ahead (workers, bundles): a module, its bytes or a response. Its variant must be named. */
  source?: WasmSource | Promise<WasmSource>;
  /** Where to fetch the binaries from, a folder's URL ending in `/`; beside this module if absent. */
  baseUrl?: string | URL;
  /** Upper limit of the WASM memory in bytes, from 64 KiB up; 4 GiB less 64 KiB if absent. */
  maximumBytes?: number;
  /**
   * Threads that compute, the calling one among them: 1 if absent. `'auto'`: as many as there are cores, and 1 where
   * threads are not to be had. The others are workers, which sleep between calls and end with the process, the page or
   * `k.dispose()`; a call that gains from them uses them, and gives the same bits whatever their number.
   *
   * A page needs cross-origin isolation for it: the headers `Cross-Origin-Opener-Policy: same-origin` and
   * `Cross-Origin-Embedder-Policy: require-corp`.
   */
  threads?: number | 'auto';
  /**
   * The address of `@freelunch/kernels/worker.js`, for pages whose policy forbids workers made from text (`worker-src`
   * without `blob:`).
   */
  workerUrl?: string | URL;
  /** Surrounds every block with guard words and fills new ones with NaN: `k.checkGuards()` finds kernels that write outside. Slow. */
  guard?: boolean;
}

/** A function of 12 bytes whose one interesting instruction is f32x4.relaxed_madd (0xfd 0x105). */
// prettier-ignore
const relaxedProbe = new Uint8Array([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, // magic, version
  1, 5, 1, 0x60, 0, 1, 0x7b, // type: () -> v128
  3, 2, 1, 0, // one function of it
  10, 19, 1, 17, 0, // its body
  0x41, 0, 0xfd, 15, 0x41, 0, 0xfd, 15, 0x41, 0, 0xfd, 15, // three times i8x16.splat(0)
  0xfd, 0x85, 0x02, 0x0b, // f32x4.relaxed_madd
]);

// prettier-ignore
const simdProbe = new Uint8Array([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0,
  10, 8, 1, 6, 0, 0x41, 0, 0xfd, 15, 0x0b,
]);

/** The variants that this runtime can run, fastest first. */
export function supportedVariants(): Variant[] {
  const variants: Variant[] = [];
  if (WebAssembly.validate(relaxedProbe)) variants.push('relaxed-simd');
  if (WebAssembly.validate(simdProbe)) variants.push('simd');
  return variants;
}

/** The variant to load for what was asked. @throws UnsupportedError, ArgumentError */
export function chooseVariant(wanted: 'auto' | Variant = 'auto'): Variant {
  if (wanted !== 'auto' && wanted !== 'simd' && wanted !== 'relaxed-simd') {
    throw new ArgumentError(
      `loadKernels: variant must be 'auto', 'simd' or 'relaxed-simd', got ${show(wanted)}`,
    );
  }
  const supported = supportedVariants();
  if (wanted === 'auto') {
    if (supported.length === 0)
      throw new UnsupportedError('loadKernels: this runtime has no WebAssembly SIMD');
    return supported[0];
  }
  if (!supported.includes(wanted)) {
    const remedy = wanted === 'relaxed-simd' ? " (Node has it from 21 up); use variant 'auto' or 'simd'" : '';
    throw new UnsupportedError(`loadKernels: this runtime cannot run variant '${wanted}'${remedy}`);
  }
  return wanted;
}

/** More are no use to anybody, and each costs memory of its own. */
const MOST_THREADS = 256;

/** How many threads there are to be. @throws ArgumentError, UnsupportedError if there can't be as many */
function chooseThreads(wanted: unknown = 1): number {
  if (wanted === 1) return 1;
  const why = whyNoThreads();
  if (wanted === 'auto') return why === undefined ? Math.min(countCores(), MOST_THREADS) : 1;
  if (!Number.isInteger(wanted) || (wanted as number) < 1 || (wanted as number) > MOST_THREADS) {
    throw new ArgumentError(
      `loadKernels: threads must be 'auto' or a whole number from 1 to ${MOST_THREADS}, got ${show(wanted)}`,
    );
  }
  if (why !== undefined) throw new UnsupportedError(`loadKernels: threads ${show(wanted)}: ${why}`);
  return wanted as number;
}

/** What memory starts with, where `maximumBytes` allows it: the first tensors need no growing. */
const INITIAL_PAGES = 16;

/**
 * Shared memory says when it is made how large it may become. Some devices refuse what is more than they have: then half
 * as much is asked for.
 * @returns the memory, and to how many bytes it may grow
 */
function sharedMemory(
  initial: number,
  wantedBytes: number,
): { memory: WebAssembly.Memory; maximumBytes: number } {
  let maximum = Math.min(MOST_SHARED_PAGES, Math.floor(wantedBytes / PAGE_BYTES));
  for (; ; maximum >>= 1) {
    const maximumBytes = maximum * PAGE_BYTES;
    try {
      return { memory: new WebAssembly.Memory({ initial, maximum, shared: true }), maximumBytes };
    } catch (cause) {
      if (maximum >= 2 * initial) continue;
      throw new OutOfMemoryError(`loadKernels: no room for shared memory of ${maximumBytes} bytes`, {
        cause,
      });
    }
  }
}

/** A copy of the options of an entry, each read once. @throws ArgumentError for what is no option */
export function takeOptions<Options extends object>(given: Options, names: readonly string[]): Options {
  checkOptions('loadKernels', given, names);
  return { ...given };
}

/** The options that both entries have. */
export const sharedOptions = ['variant', 'maximumBytes', 'threads', 'workerUrl', 'guard'] as const;

/** Makes kernels from a compiled binary. Shared by the entries, which differ in where the bytes come from. */
export async function instantiateKernels(
  source: WasmSource | Promise<WasmSource>,
  variant: Variant,
  options: LoadOptions,
): Promise<Kernels> {
  const { maximumBytes, guard, workerUrl } = options;
  if (guard !== undefined && typeof guard !== 'boolean') {
    throw new ArgumentError(`loadKernels: guard must be true or false, got ${show(guard)}`);
  }
  if (maximumBytes !== undefined && !(Number.isSafeInteger(maximumBytes) && maximumBytes >= PAGE_BYTES)) {
    throw new ArgumentError(
      `loadKernels: maximumBytes must be a whole number from ${PAGE_BYTES} up, got ${show(maximumBytes)}`,
    );
  }
  const threads = chooseThreads(options.threads);
  const initial = Math.min(INITIAL_PAGES, Math.floor((maximumBytes ?? Infinity) / PAGE_BYTES));
  const taken = await take(source);
  const alone = async (from: WasmSource) => {
    const memory = new WebAssembly.Memory({ initial });
    const { exports } = await start(await compile(from), memory);
    return createKernels(
      exports,
      new Allocator(memory, exports.heapBase(), { guard, maximumBytes }),
      variant,
    );
  };
  if (threads === 1) return alone(taken);
  const bytes = await bytesOf(taken);
  const shared = sharedMemory(initial, maximumBytes ?? Infinity);
  const { memory } = shared;
  const { module, exports } = await start(await compile(withSharedMemory(bytes)), memory);
  let pool: Pool;
  try {
    pool = await Pool.start(exports, module, memory, threads, workerUrl);
  } catch (error) {
    if (options.threads !== 'auto') throw error;
    return alone(bytes);
  }
  const allocator = new Allocator(memory, exports.heapBase(), { guard, maximumBytes: shared.maximumBytes });
  return createKernels(exports, allocator, variant, pool);
}

async function take(source: WasmSource | Promise<WasmSource>): Promise<WasmSource> {
  try {
    return await source;
  } catch (cause) {
    throw doesNotStart(cause);
  }
}

/** The kernels in a memory. @throws FormatError if the module is not them */
async function start(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): Promise<{ module: WebAssembly.Module; exports: WasmExports }> {
  let exports: WasmExports;
  try {
    ({ exports } = (await instantiate(module, { env: { memory } })) as unknown as { exports: WasmExports });
  } catch (cause) {
    throw doesNotStart(cause);
  }
  if (typeof exports.heapBase !== 'function') throw notABinary('a module without heapBase');
  return { module, exports };
}

/**
 * Loads the compiled kernels: by fetch where there is a network address, from the file system in Node, Deno and Bun.
 *
 * @throws UnsupportedError if the runtime cannot run the variant, allows no compiling or has no threads, FileError if the
 *   binary cannot be had, FormatError if it is not one: each names the address and a remedy
 */
export async function loadKernels(given: LoadOptions = {}): Promise<Kernels> {
  const options = takeOptions(given, [...sharedOptions, 'source', 'baseUrl']);
  if (options.source !== undefined && (options.variant ?? 'auto') === 'auto') {
    throw new ArgumentError(
      "loadKernels: variant must be 'simd' or 'relaxed-simd' where source is given, got 'auto'",
    );
  }
  const variant = chooseVariant(options.variant);
  return instantiateKernels(
    options.source === undefined ? readBinary(variant, options.baseUrl) : options.source,
    variant,
    options,
  );
}
