export { cost, dtypeBits, figures } from './cost.js';
export type { Cost, CostOptions, DType, Figure, Mode } from './cost.js';
export { compare, crossing, crossover, order, roofline } from './compare.js';
export type {
  CompareOptions,
  Comparison,
  Crossover,
  CrossoverOptions,
  Machine,
  Roofline,
} from './compare.js';
export { transformerLike } from './transformer.js';
export { leastFloats, mechanisms, table, tasks } from './table.js';
export type { Mechanism, TableEntry, TableFigure, TableOptions, Task } from './table.js';
export { fitExponent, fitMachine, fitMachines, predict } from './fit.js';
export type { Sample } from './fit.js';
export { fromHuggingFace } from '@freelunch/config';
export type {
  HuggingFaceConfig,
  MixerConfig,
  MlpConfig,
  ModelConfig,
  PositionConfig,
} from '@freelunch/config';
export { ceil, Expression, maximum, minimum, product, sum, variable } from './expression.js';
export type { Size, Values } from './expression.js';
export { ops } from './ops/checked.js';
export type { Ops } from './ops/checked.js';
export { algorithmGrain } from './ops/op.js';
export { kernelGrain } from './ops/kernel/grain.js';
export type { Elements, Grain, Op } from './ops/op.js';
