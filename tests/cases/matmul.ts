import type { Case } from './case.ts';

export const matmulCases: Case[] = [];
