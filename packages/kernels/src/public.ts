/** What both entries export, but for `loadKernels`. */
export { Context } from './context.js';
export type { Variant } from './context.js';
export * from './errors.js';
export type { Kernels } from './kernels.js';
export { Tensor } from './tensor.js';
export type { DType, TensorData, TypedArrays } from './tensor.js';
