/** All packages in one import. What a page does not use, its bundler leaves out. */
export * from '@freelunch/kernels';
export * from '@freelunch/models';
// In both packages, which mean the same by them.
export type { FeatureMap, SparsePattern } from '@freelunch/kernels';
export * as autograd from '@freelunch/autograd';
export * as complexity from '@freelunch/complexity';
export * as constructions from '@freelunch/constructions';
export * as lab from '@freelunch/lab';
export * as tasks from '@freelunch/tasks';
