import type { Case } from './case.ts';

export const selectiveScanCases: Case[] = [];
