import type { GoldenRunner } from './golden.ts';

export const normRunners: Record<string, GoldenRunner> = {};
