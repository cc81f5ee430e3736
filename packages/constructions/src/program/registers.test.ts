import { array, assert, integer, nat, property, tuple } from 'fast-check';
import { expect, it } from 'vitest';
import { assignRegisters, type Use } from './registers.js';

const uses = array(
  tuple(nat(60), nat(20)).map(([written, later]): Use => ({ written, read: written + later })),
  { minLength: 1, maxLength: 80 },
);

/** What each register holds, replayed step by step. */
function misses(all: readonly Use[], register: (step: number) => number): Use[] {
  const held = new Map<number, number>();
  const missed: Use[] = [];
  for (let step = 0; step <= 80; step++) {
    if (register(step) >= 0) held.set(register(step), step);
    for (const use of all)
      if (use.read === step && held.get(register(use.written)) !== use.written) missed.push(use);
  }
  return missed;
}

it('keeps every value to its last read, with no more registers than values in use at once', () => {
  assert(
    property(uses, (all) => {
      const { count, register, overflow } = assignRegisters(all);
      expect(misses(all, register)).toEqual([]);
      expect(overflow).toBeUndefined();
      const lastRead = new Map<number, number>();
      for (const { written, read } of all)
        lastRead.set(written, Math.max(read, lastRead.get(written) ?? read));
      const inUse = (step: number) =>
        [...lastRead].filter(([written, read]) => written <= step && step <= read).length;
      expect(count).toBe(Math.max(...Array.from({ length: 81 }, (_, step) => inUse(step))));
    }),
  );
});

it('names a use that does not fit, and gives out no register above the limit', () => {
  assert(
    property(uses, integer({ min: 1, max: 4 }), (all, limit) => {
      const { count, register, overflow } = assignRegisters(all, limit);
      expect(count > limit).toBe(overflow !== undefined);
      for (const { written } of all) expect(register(written)).toBeLessThan(Math.max(limit, 1));
      if (overflow !== undefined) expect(misses(all, register)).not.toEqual([]);
    }),
  );
});
