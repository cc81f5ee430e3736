export { cost, dtypeBits, figures } from './cost.js';
export type { Cost, CostOptions, DType, Figure, Mode } from './cost.js';
export type { MixerConfig, MlpConfig, ModelConfig, PositionConfig } from './config.js';
export { ceil, Expression, maximum, minimum, product, sum, variable } from './expression.js';
export type { Size, Values } from './expression.js';
