import type { Case } from './case.ts';

export const softmaxAttentionCases: Case[] = [];
