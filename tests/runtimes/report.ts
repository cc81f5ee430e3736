import { loadKernels, supportedVariants, type Variant } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import * as inline from '@freelunch/kernels/inline';
import { digests } from '../digest.ts';

/** What a runtime computes: which variants it has, the digests of all cases, and whether other ways give the same. */
export interface Report {
  variants: Variant[];
  files: Record<string, string>;
  /** `'the same'`, `'other bits'`, or why there are no threads. */
  twoThreads: string;
  inlineIsTheSame: boolean;
}

export async function report(): Promise<Report> {
  const files = await digests(await loadKernels({ variant: 'simd' }));
  const bytes = await digests(await inline.loadKernels({ variant: 'simd' }));
  return {
    variants: supportedVariants(),
    files,
    twoThreads: await withTwoThreads(files).catch((error: Error) => `${error.name}: ${error.message}`),
    inlineIsTheSame: JSON.stringify(files) === JSON.stringify(bytes),
  };
}

async function withTwoThreads(files: Record<string, string>): Promise<string> {
  const shared = await loadKernels({ variant: 'simd', threads: 2 });
  internalsOf(shared).worthSharingNs = 0;
  try {
    const found = await digests(shared);
    return shared.threads === 2 && JSON.stringify(files) === JSON.stringify(found)
      ? 'the same'
      : 'other bits';
  } finally {
    shared.dispose();
  }
}
