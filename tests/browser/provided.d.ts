import type { digests } from '../digest.ts';

declare module 'vitest' {
  /** What Node gives to tests in the browser. */
  export interface ProvidedContext {
    /** Digests of the case table, by case and size. */
    nodeDigests: Awaited<ReturnType<typeof digests>>;
    /** Where a checkpoint is served by another origin that packs it, and what its model gives for tokens 1, 2, 3. */
    packedCheckpoint: { url: string; logits: number[] };
    /** Where a checkpoint is served in several ways, and the first logits after tokens 1, 2, 3. */
    cachedCheckpoint: { url: string; logits: number[] };
  }
}
