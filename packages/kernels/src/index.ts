export * from './public.js';
export { loadKernels, supportedVariants } from './load.js';
export type { LoadOptions, WasmSource } from './load.js';
