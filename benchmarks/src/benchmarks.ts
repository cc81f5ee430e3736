import type { Benchmark } from './benchmark.js';
import { activationBenchmarks } from './activation.js';
import { adamWBenchmarks } from './adamw.js';
import { causalConv1dBenchmarks } from './causal-conv1d.js';
import { deltaRuleBenchmarks } from './delta-rule.js';
import { embeddingBenchmarks } from './embedding.js';
import { linearAttentionBenchmarks } from './linear-attention.js';
import { lossBenchmarks } from './loss.js';
import { matmulBenchmarks } from './matmul.js';
import { normBenchmarks } from './norm.js';
import { ropeBenchmarks } from './rope.js';
import { selectiveScanBenchmarks } from './selective-scan.js';
import { sgdBenchmarks } from './sgd.js';
import { softmaxAttentionBenchmarks } from './softmax-attention.js';
import { mamba3Benchmarks } from './mamba3.js';
import { ssdBenchmarks } from './ssd.js';

/** All benchmarks of kernels. */
export const benchmarks: Benchmark[] = [
  ...matmulBenchmarks,
  ...selectiveScanBenchmarks,
  ...ssdBenchmarks,
  ...mamba3Benchmarks,
  ...linearAttentionBenchmarks,
  ...deltaRuleBenchmarks,
  ...softmaxAttentionBenchmarks,
  ...causalConv1dBenchmarks,
  ...normBenchmarks,
  ...activationBenchmarks,
  ...ropeBenchmarks,
  ...embeddingBenchmarks,
  ...lossBenchmarks,
  ...adamWBenchmarks,
  ...sgdBenchmarks,
];
