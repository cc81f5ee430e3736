export * from './gemm';
export * from './selective-scan';
export * from './ssd';
export * from './linear-attention';
export * from './linear-attention-chunked';
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
