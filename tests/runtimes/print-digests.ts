/** Prints the digests of the case table as JSON: run it in another runtime and compare. */
import { loadKernels, supportedVariants } from '@freelunch/kernels';
import * as inline from '@freelunch/kernels/inline';
import { digests } from '../digest.ts';

const files = await digests(await loadKernels({ variant: 'simd' }));
const bytes = await digests(await inline.loadKernels({ variant: 'simd' }));
console.log(
  JSON.stringify({
    variants: supportedVariants(),
    files,
    inlineIsTheSame: JSON.stringify(files) === JSON.stringify(bytes),
  }),
);
