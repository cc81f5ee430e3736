/** What both entries export, except `loadKernels`. */
export type { Variant } from './context.js';
export {
  ArgumentError,
  DisposedError,
  DTypeError,
  FileError,
  FormatError,
  FreelunchError,
  OutOfMemoryError,
  ShapeError,
  UnsupportedError,
} from '@freelunch/errors';
export type { Kernels } from './kernels.js';
export { QuantizedTensor } from './quantized-tensor.js';
export type { WeightDType } from './quantized-tensor.js';
export { Tensor } from './tensor.js';
export type { DType, TensorData, TypedArrays } from './tensor.js';
export type { GeluOptions } from './activation.js';
export type { AdamWArgs } from './adamw.js';
export type {
  CausalConv1dArgs,
  CausalConv1dBackwardArgs,
  CausalConv1dGradients,
  CausalConv1dStepArgs,
} from './causal-conv1d.js';
export type {
  DeltaRuleArgs,
  DeltaRuleBackwardArgs,
  DeltaRuleGradients,
  DeltaRuleOptions,
  DeltaRuleResult,
  DeltaRuleStepArgs,
  GatedDeltaRuleArgs,
  GatedDeltaRuleBackwardArgs,
  GatedDeltaRuleStepArgs,
} from './delta-rule.js';
export type { MixerArgs } from './effective-attention/index.js';
export type { EmbeddingArgs } from './embedding.js';
export type {
  FeatureMap,
  LinearAttentionArgs,
  LinearAttentionBackwardArgs,
  LinearAttentionForm,
  LinearAttentionOptions,
  LinearAttentionStepArgs,
} from './linear-attention.js';
export type { CrossEntropyArgs } from './loss.js';
export type { MatmulArgs } from './matmul.js';
export type { GatedRmsNormArgs, LayerNormArgs, RmsNormArgs } from './norm.js';
export type { DequantizeArgs, QuantizeArgs } from './quantization.js';
export type { ScaleOptions } from './scale.js';
export type { RopeOptions, RopeScaling } from './rope.js';
export type {
  SelectiveScanArgs,
  SelectiveScanBackwardArgs,
  SelectiveScanGradients,
  SelectiveScanStepArgs,
} from './selective-scan.js';
export type { SgdArgs } from './sgd.js';
export type {
  SoftmaxAttentionArgs,
  SoftmaxAttentionBackwardArgs,
  SoftmaxAttentionStepArgs,
  SparsePattern,
} from './softmax-attention.js';
export type {
  Mamba3Args,
  Mamba3BackwardArgs,
  Mamba3Gradients,
  Mamba3Result,
  Mamba3StepArgs,
} from './mamba3-args.js';
export type { Mamba3GateArgs, Mamba3GateGradients } from './mamba3-gate.js';
export type { SsdArgs, SsdBackwardArgs, SsdGradients, SsdStepArgs } from './ssd.js';
