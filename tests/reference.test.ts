import { describe, it } from 'vitest';
import { titleOf } from './cases/case.ts';
import { cases } from './cases/index.ts';
import { checkReference } from './checks.ts';
import { guarded } from './kernels.ts';

describe.each(guarded)('%s', (_variant, k) => {
  describe.each(cases.map((c) => [titleOf(c), c] as const))('%s', (_title, c) => {
    it.each(c.sizes)('matches its definition at %o', (size) => checkReference(k, c, size));
  });
});
