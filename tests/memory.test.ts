import { describe, it } from 'vitest';
import { titleOf } from './cases/case.ts';
import { cases } from './cases/index.ts';
import { checkMemory } from './checks.ts';
import { guarded } from './kernels.ts';

describe.each(guarded)('%s', (_variant, k) => {
  describe.each(cases.map((c) => [titleOf(c), c] as const))('%s', (_title, c) => {
    it.each(c.sizes)(
      'writes all of its outputs and nothing beyond them, and keeps no memory, at %o',
      (size) => checkMemory(k, c, size),
    );
  });
});
