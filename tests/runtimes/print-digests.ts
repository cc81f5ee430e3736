/** Prints the digests of the case table as JSON: run it in another runtime and compare. */
import { loadKernels, supportedVariants } from '@freelunch/kernels';
import { internalsOf } from '@freelunch/kernels/internals';
import * as inline from '@freelunch/kernels/inline';
import { digests } from '../digest.ts';

const files = await digests(await loadKernels({ variant: 'simd' }));
const shared = await loadKernels({ variant: 'simd', threads: 2 });
internalsOf(shared).worthSharingNs = 0;
const twoThreads = await digests(shared);
const bytes = await digests(await inline.loadKernels({ variant: 'simd' }));
console.log(
  JSON.stringify({
    variants: supportedVariants(),
    files,
    twoThreadsAreTheSame: shared.threads === 2 && JSON.stringify(files) === JSON.stringify(twoThreads),
    inlineIsTheSame: JSON.stringify(files) === JSON.stringify(bytes),
  }),
);
