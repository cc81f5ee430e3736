import type { GoldenRunner } from './golden.ts';

export const embeddingRunners: Record<string, GoldenRunner> = {};
