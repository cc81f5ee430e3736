import type { Case } from './case.ts';
import { activationCases } from './activation.ts';
import { causalConv1dCases } from './causal-conv1d.ts';
import { deltaRuleCases } from './delta-rule.ts';
import { embeddingCases } from './embedding.ts';
import { adamWCases } from './adamw.ts';
import { layoutCases } from './layout.ts';
import { linearAttentionCases } from './linear-attention.ts';
import { lossCases } from './loss.ts';
import { mamba3Cases } from './mamba3.ts';
import { mamba3GateCases } from './mamba3-gate.ts';
import { matmulCases } from './matmul.ts';
import { normCases } from './norm.ts';
import { quantizationCases } from './quantization.ts';
import { ropeCases } from './rope.ts';
import { selectiveScanCases } from './selective-scan.ts';
import { sgdCases } from './sgd.ts';
import { softmaxAttentionCases } from './softmax-attention.ts';
import { ssdCases } from './ssd.ts';

export const cases: Case[] = [
  ...selectiveScanCases,
  ...ssdCases,
  ...mamba3Cases,
  ...mamba3GateCases,
  ...linearAttentionCases,
  ...deltaRuleCases,
  ...softmaxAttentionCases,
  ...causalConv1dCases,
  ...matmulCases,
  ...quantizationCases,
  ...normCases,
  ...activationCases,
  ...layoutCases,
  ...ropeCases,
  ...embeddingCases,
  ...lossCases,
  ...adamWCases,
  ...sgdCases,
];
