import type { GoldenRunner } from './golden.ts';
import { activationRunners } from './activation.ts';
import { adamWRunners } from './adamw.ts';
import { causalConv1dRunners } from './causal-conv1d.ts';
import { deltaRuleRunners } from './delta-rule.ts';
import { embeddingRunners } from './embedding.ts';
import { linearAttentionRunners } from './linear-attention.ts';
import { lossRunners } from './loss.ts';
import { mamba3Runners } from './mamba3.ts';
import { normRunners } from './norm.ts';
import { ropeRunners } from './rope.ts';
import { selectiveScanRunners } from './selective-scan.ts';
import { softmaxAttentionRunners } from './softmax-attention.ts';
import { ssdRunners } from './ssd.ts';

/** How to compute each op of the golden vectors. */
export const runners: Record<string, GoldenRunner> = {
  ...selectiveScanRunners,
  ...ssdRunners,
  ...mamba3Runners,
  ...linearAttentionRunners,
  ...deltaRuleRunners,
  ...softmaxAttentionRunners,
  ...causalConv1dRunners,
  ...normRunners,
  ...activationRunners,
  ...ropeRunners,
  ...embeddingRunners,
  ...lossRunners,
  ...adamWRunners,
};
