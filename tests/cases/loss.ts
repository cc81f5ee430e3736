import type { Case } from './case.ts';

export const lossCases: Case[] = [];
