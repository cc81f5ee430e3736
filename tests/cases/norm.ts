import type { Case } from './case.ts';

export const normCases: Case[] = [];
