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
