import type { Case } from './case.ts';

export const linearAttentionCases: Case[] = [];
