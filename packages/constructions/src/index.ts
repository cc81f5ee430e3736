export { arithmeticModel, arithmeticModelPlan } from './arithmetic-model.js';
export type { ArithmeticModelOptions } from './arithmetic-model.js';
export {
  copyAddressed,
  copyLinearAttention,
  copyRegisterFile,
  copySelectiveScan,
  copySoftmaxAttention,
  positionBits,
} from './copy.js';
export type { CopyArgs, KeyedCopyArgs } from './copy.js';
export { decode, encode, randomUnitKeys, signCodebook } from './codebook.js';
export {
  chiSquared,
  decayError,
  decayReach,
  informationBits,
  predictAccuracy,
  welchBound,
} from './prediction.js';
export type { PredictAccuracyArgs } from './prediction.js';
export { copyPrice, copyPriceFormulas } from './price.js';
export type { CopyMixer, CopyPrice, CopyPriceArgs } from './price.js';
export { compile } from './compile.js';
export type { CompileOptions, LookUpMixer, Plan } from './compile.js';
export { copyModel, copyModelPlan } from './copy-model.js';
export type { CopyModelOptions } from './copy-model.js';
export { dpModel, dpModelPlan } from './dp-model.js';
export type { DpModelOptions, DpPlan } from './dp-model.js';
export type { Arg, FixedArg, Transition } from './dp-transition.js';
export { copyCodebook } from './keyed-copy-model.js';
export { recallModel, recallModelPlan } from './recall-model.js';
export type { RecallModelOptions } from './recall-model.js';
export { bitOf, codeBits, Expr, Program } from './program.js';
export type { LookUp, Node, PlacedLookUp, ProgramBlock, Relu } from './program.js';
export * as integers from './integers.js';
export type { WholeNumber } from './integers.js';
