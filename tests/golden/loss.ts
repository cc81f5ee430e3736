import type { GoldenRunner } from './golden.ts';

export const lossRunners: Record<string, GoldenRunner> = {};
