import type { GoldenRunner } from './golden.ts';

export const softmaxAttentionRunners: Record<string, GoldenRunner> = {};
