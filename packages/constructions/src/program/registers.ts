/** Which register holds a value from where it is written to where it is read for the last time. */

export interface Use {
  /** The step that writes the value. */
  written: number;
  /** A step that reads it, not before. */
  read: number;
}

export interface Assignment {
  /** Registers that all values need; more than the limit if there is one that they do not fit. */
  count: number;
  /** The register that a step writes to; -1 if nobody reads what it writes. */
  register(step: number): number;
  /** The first use that does not fit the limit. */
  overflow?: Use;
}

/**
 * As few as there are values in use at once: a register is free from the step after its last read on. Where they are
 * more than `limit`, values take the registers in turn, and later ones replace earlier ones.
 */
export function assignRegisters(uses: readonly Use[], limit = Infinity): Assignment {
  const lastRead = new Map<number, number>();
  for (const { written, read } of uses) lastRead.set(written, Math.max(lastRead.get(written) ?? read, read));
  const writes = [...lastRead.keys()].sort((a, b) => a - b);
  const registers = new Map<number, number>();
  const busy: { until: number; register: number; written: number }[] = []; // a heap would do; few are in use at once
  const free: number[] = [];
  let count = 0;
  let overflow: Use | undefined;
  for (const written of writes) {
    for (let i = busy.length - 1; i >= 0; i--) {
      if (busy[i].until >= written) continue;
      free.push(busy[i].register);
      busy[i] = busy[busy.length - 1];
      busy.pop();
    }
    const register = free.pop() ?? count++;
    if (register >= limit && overflow === undefined) {
      const oldest = busy.reduce((first, one) => (one.written < first.written ? one : first));
      overflow = { written: oldest.written, read: oldest.until };
    }
    registers.set(written, register);
    busy.push({ until: lastRead.get(written)!, register, written });
  }
  if (count > limit) writes.forEach((written, i) => registers.set(written, i % limit));
  return { count, register: (step) => registers.get(step) ?? -1, overflow };
}
