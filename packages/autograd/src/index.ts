export { createTape } from './tape.js';
export type { Tape, TapeOps } from './tape.js';
export { rules } from './rules.js';
export type { Differentiable, Rule } from './rules.js';
export { adamW, sgd } from './optimizers.js';
export type { AdamWOptions, Optimizer, OptimizerState, ParameterGroup, SgdOptions } from './optimizers.js';
export { constant, cosine, linearWarmup } from './schedules.js';
export type { CosineOptions, Schedule } from './schedules.js';
