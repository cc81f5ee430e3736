import type { digests } from '../digest.ts';

declare module 'vitest' {
  /** What Node gives to tests in the browser. */
  export interface ProvidedContext {
    /** Digests of the case table, by case and size. */
    nodeDigests: Awaited<ReturnType<typeof digests>>;
  }
}
