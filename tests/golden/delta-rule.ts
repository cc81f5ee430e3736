import type { GoldenRunner } from './golden.ts';

export const deltaRuleRunners: Record<string, GoldenRunner> = {};
