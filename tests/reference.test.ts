import { describe, expect, it } from 'vitest';
import { argsOf, run, runReference, titleOf } from './cases/case.ts';
import { cases } from './cases/index.ts';
import { expectClose } from './compare.ts';
import { guarded } from './kernels.ts';

describe.each(guarded)('%s', (_variant, k) => {
  describe.each(cases.map((c) => [titleOf(c), c] as const))('%s', (_title, c) => {
    it.each(c.sizes)('matches its definition at %o', (size) => {
      const args = argsOf(c, size);
      const got = run(k, c.op, args, c.updates);
      const want = runReference(c.op, args);
      expect(Object.keys(got).sort()).toEqual(Object.keys(want).sort());
      for (const name of Object.keys(want)) expectClose(name, got[name], want[name], c.tolerance);
    });
  });
});
