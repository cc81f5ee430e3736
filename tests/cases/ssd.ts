import type { Case } from './case.ts';

export const ssdCases: Case[] = [];
