import type { GoldenRunner } from './golden.ts';

export const ssdRunners: Record<string, GoldenRunner> = {};
