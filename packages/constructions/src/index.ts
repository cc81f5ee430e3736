export { arithmeticModel, arithmeticModelPlan } from './models/arithmetic.js';
export type { ArithmeticModelOptions } from './models/arithmetic.js';
export {
  copyAddressed,
  copyLinearAttention,
  copyRegisterFile,
  copySelectiveScan,
  copySoftmaxAttention,
  positionBits,
} from './mixers/copy.js';
export type { CopyArgs, KeyedCopyArgs } from './mixers/copy.js';
export { decode, encode, randomUnitKeys, signCodebook } from './mixers/codebook.js';
export {
  chiSquared,
  decayError,
  decayReach,
  informationBits,
  predictAccuracy,
  welchBound,
} from './mixers/prediction.js';
export type { PredictAccuracyArgs } from './mixers/prediction.js';
export { copyPrice, copyPriceFormulas } from './mixers/price.js';
export type { CopyMixer, CopyPrice, CopyPriceArgs } from './mixers/price.js';
export { compile } from './program/compile.js';
export type { CompileOptions, Plan } from './program/compile.js';
export type { LookUpMixer } from './program/look-ups.js';
export { cyclicModel, cyclicModelPlan } from './models/cyclic.js';
export type { CyclicModelOptions, CyclicPlan } from './models/cyclic.js';
export { copyModel, copyModelPlan } from './models/copy.js';
export type { CopyModelOptions } from './models/copy.js';
export { dpModel, dpModelPlan } from './dp/model.js';
export type { DpModelOptions, DpPlan } from './dp/plan.js';
export { copyCodebook } from './models/keyed-copy.js';
export { recallModel, recallModelPlan } from './models/recall.js';
export type { RecallModelOptions } from './models/recall.js';
export { bitOf, codeBits, Expr, Program } from './program/program.js';
export type { LookUp, Node, PlacedLookUp, ProgramBlock, Relu } from './program/program.js';
export * as integers from './program/integers.js';
export type { WholeNumber } from './program/integers.js';
