import type { Case } from './case.ts';

export const adamWCases: Case[] = [];
