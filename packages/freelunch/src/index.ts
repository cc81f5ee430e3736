/** All packages in one import. What a page does not use, its bundler leaves out. */
export * from '@freelunch/models';
export {
  ArgumentError,
  DisposedError,
  DTypeError,
  FileError,
  FormatError,
  FreelunchError,
  loadKernels,
  OutOfMemoryError,
  QuantizedTensor,
  ShapeError,
  supportedVariants,
  Tensor,
  UnsupportedError,
} from '@freelunch/kernels';
export type { DType, Kernels, LoadOptions, TensorData, Variant, WeightDType } from '@freelunch/kernels';
export * as autograd from '@freelunch/autograd';
export * as complexity from '@freelunch/complexity';
export * as constructions from '@freelunch/constructions';
export * as lab from '@freelunch/lab';
export * as tasks from '@freelunch/tasks';
