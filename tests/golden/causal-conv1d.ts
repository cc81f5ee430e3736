import type { GoldenRunner } from './golden.ts';

export const causalConv1dRunners: Record<string, GoldenRunner> = {};
