import type { Case } from './case.ts';

export const embeddingCases: Case[] = [];
