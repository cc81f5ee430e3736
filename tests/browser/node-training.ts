import { loadKernels } from '@freelunch/kernels';
import type { TestProject } from 'vitest/node';
import { trainingRuns, variant } from '../training-run.ts';

/** Trains in Node what the browser then trains too. */
export default async function setup(project: TestProject): Promise<void> {
  project.provide('nodeTraining', await trainingRuns(await loadKernels({ variant })));
}
