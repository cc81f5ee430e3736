import { describe, expect, it } from 'vitest';
import { argsOf, run, runReference, titleOf, upstream } from './cases/case.ts';
import { cases } from './cases/index.ts';
import { guarded } from './kernels.ts';

// `guarded` kernels fill new buffers with NaN and put guard words around them: an element that is not written stays
// NaN, a write outside is found by checkGuards, which `run` calls, and again when a buffer is freed.
describe.each(guarded)('%s', (_variant, k) => {
  describe.each(cases.map((c) => [titleOf(c), c] as const))('%s', (_title, c) => {
    it.each(c.sizes)(
      'writes all of its outputs and nothing beyond them, and keeps no memory, at %o',
      (size) => {
        const before = k.memory;
        const args = argsOf(c, size);
        const outputs = Object.entries(run(k, c.op, args, c.updates));
        if (c.backward !== undefined) {
          const up = upstream(c, size, runReference(c.op, args));
          outputs.push(...Object.entries(run(k, `${c.op}Backward`, { ...args, ...up })));
        }
        for (const [name, { data }] of outputs)
          expect(data.findIndex(Number.isNaN), `${name} holds NaN at`).toBe(-1);
        expect(k.memory.usedBytes).toBe(before.usedBytes);
        expect(k.memory.tensors).toBe(before.tensors);
      },
    );
  });
});
