import type { Case } from './case.ts';

export const ropeCases: Case[] = [];
