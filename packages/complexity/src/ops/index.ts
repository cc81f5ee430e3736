/** What single ops cost: each takes a {@link Grain} and sizes, as numbers or expressions. */
export * from './activation.js';
export * from './adamw.js';
export * from './causal-conv1d.js';
export * from './delta-rule.js';
export * from './embedding.js';
export * from './linear-attention.js';
export * from './loss.js';
export * from './mamba3.js';
export * from './mamba3-gate.js';
export * from './matmul.js';
export * from './norm.js';
export * from './rope.js';
export * from './selective-scan.js';
export * from './softmax-attention.js';
export * from './ssd.js';
