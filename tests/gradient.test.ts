import { describe, it } from 'vitest';
import { titleOf } from './cases/case.ts';
import { cases } from './cases/index.ts';
import { checkGradient } from './checks.ts';
import { guarded } from './kernels.ts';

describe.each(guarded)('%s', (_variant, k) => {
  const differentiable = cases.filter((c) => c.backward !== undefined);
  describe.each(differentiable.map((c) => [titleOf(c), c] as const))('%s', (_title, c) => {
    it.each(c.sizes)('has the gradient of its definition at %o', (size) => checkGradient(k, c, size));
  });
});
