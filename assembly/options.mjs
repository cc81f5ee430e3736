/** What every build of the kernels is compiled with. */

/**
 * Where static data starts. An absent argument is address 0: a kernel that reads or writes one by mistake finds nothing
 * it needs below this, and `guard: true` notices (NULL_BYTES in packages/kernels/src/memory.ts is the same number).
 */
const MEMORY_BASE = 1024;

// prettier-ignore
export const common = [
  '--runtime', 'stub', '--importMemory', '--noExportMemory', '--noAssert', '--memoryBase', String(MEMORY_BASE),
];
