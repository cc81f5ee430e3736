/**
 * All kernels. They never allocate, check or throw: addresses and sizes come from packages/kernels.
 *
 * Addresses are 32 bits wide, and no kernel minds where they wrap to 0. So a loop may step, or compare, up to 64 KiB beyond
 * the end of a buffer (`pointer + 64 <= end`, `pointer < end` in steps of vectors), which the allocator makes safe: it
 * never hands out the last page of a memory of 4 GiB. A step that may be longer, such as a row of a matrix, is counted
 * instead. Nothing beyond a buffer is read or written.
 */
export * from './matmul';
export * from './quantization';
export * from './selective-scan';
export * from './ssd';
export * from './mamba3';
export * from './mamba3-gate';
export * from './linear-attention';
export * from './linear-attention/chunked';
export * from './delta-rule';
export * from './softmax-attention';
export * from './causal-conv1d';
export * from './norm';
export * from './activation';
export * from './layout';
export * from './rope';
export * from './embedding';
export * from './loss';
export * from './adamw';
export * from './sgd';

/** First byte after the static data: the allocator starts here. */
export function heapBase(): usize {
  return __heap_base;
}
