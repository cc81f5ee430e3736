import type { GoldenRunner } from './golden.ts';

export const ropeRunners: Record<string, GoldenRunner> = {};
