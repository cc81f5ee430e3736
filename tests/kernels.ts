import { type Kernels, loadKernels, supportedVariants } from '@freelunch/kernels';

/** Kernels of each variant that this runtime has, with guard words around every buffer. */
export const guarded: [string, Kernels][] = await Promise.all(
  supportedVariants().map(async (variant): Promise<[string, Kernels]> => [
    variant,
    await loadKernels({ variant, guard: true }),
  ]),
);
