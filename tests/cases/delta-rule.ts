import type { Case } from './case.ts';

export const deltaRuleCases: Case[] = [];
