import type { GoldenRunner } from './golden.ts';

export const activationRunners: Record<string, GoldenRunner> = {};
