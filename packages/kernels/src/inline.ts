/**
 * The same as `@freelunch/kernels`, with the binaries inside the module: for workers, single-file pages and servers
 * that serve no other files.
 */
import type { Variant } from './context.js';
import type { Kernels } from './kernels.js';
import { chooseVariant, instantiateKernels, type LoadOptions, sharedOptions, takeOptions } from './load.js';
import { relaxedSimd, simd } from './wasm-bytes.js';

export * from './public.js';
export { supportedVariants } from './load.js';
export type { WasmSource } from './load.js';

const binaries: Record<Variant, string> = { simd, 'relaxed-simd': relaxedSimd };

/** Loads the kernels from the bytes within this module. @throws UnsupportedError if the runtime cannot run the variant */
export async function loadKernels(given: Omit<LoadOptions, 'source' | 'baseUrl'> = {}): Promise<Kernels> {
  const options = takeOptions(given, sharedOptions);
  const variant = chooseVariant(options.variant);
  const bytes = Uint8Array.from(atob(binaries[variant]), (character) => character.charCodeAt(0));
  return instantiateKernels(bytes, variant, options);
}
