import type { GoldenRunner } from './golden.ts';

export const selectiveScanRunners: Record<string, GoldenRunner> = {};
