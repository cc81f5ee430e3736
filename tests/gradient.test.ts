import { describe, it } from 'vitest';
import { titleOf } from './cases/case.ts';
import { cases } from './cases/index.ts';
import { checkGradient, checkGradientsAgree } from './checks.ts';
import { guarded } from './kernels.ts';

/**
 * In a page `simd` gives the bits that it gives in Node, which browser/same-bits.test.ts shows. So slopes are taken by
 * single elements in Node alone, which has no other variant; a page compares all elements with `simd`.
 */
const inPage = 'document' in globalThis;
const [, simd] = guarded.find(([variant]) => variant === 'simd')!;

describe.each(guarded)('%s', (_variant, k) => {
  const differentiable = cases.filter((c) => c.backward !== undefined);
  describe.each(differentiable.map((c) => [titleOf(c), c] as const))('%s', (_title, c) => {
    it.each(c.sizes)('has the gradient of its definition at %o', (size) => {
      checkGradient(k, c, size, { elements: !inPage });
      if (k !== simd) checkGradientsAgree(k, simd, c, size);
    });
  });
});
