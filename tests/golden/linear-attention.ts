import type { GoldenRunner } from './golden.ts';

export const linearAttentionRunners: Record<string, GoldenRunner> = {};
