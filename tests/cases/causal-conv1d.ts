import type { Case } from './case.ts';

export const causalConv1dCases: Case[] = [];
