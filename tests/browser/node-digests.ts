import { loadKernels } from '@freelunch/kernels';
import type { TestProject } from 'vitest/node';
import { digests } from '../digest.ts';

/** Computes in Node what the browser's digests are compared with. */
export default async function setup(project: TestProject): Promise<void> {
  project.provide('nodeDigests', await digests(await loadKernels({ variant: 'simd' })));
}
