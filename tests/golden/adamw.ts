import type { GoldenRunner } from './golden.ts';

export const adamWRunners: Record<string, GoldenRunner> = {};
