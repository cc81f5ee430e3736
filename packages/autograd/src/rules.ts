import type { Kernels } from '@freelunch/kernels';

/** Kernels that have a backward: `silu`, because there is `siluBackward`. */
export type Differentiable = {
  [Op in keyof Kernels & string]: `${Op}Backward` extends keyof Kernels ? Op : never;
}[keyof Kernels & string];

export type ArgsOf<Op extends Differentiable> = Kernels[Op] extends (args: infer Args) => unknown
  ? Args
  : never;
export type ResultOf<Op extends Differentiable> = Kernels[Op] extends (args: never) => infer Result
  ? Result
  : never;

/** What the tape must know of an op; its vjp is the kernel `opBackward`, called by these names. */
export interface Rule<Op extends Differentiable> {
  /** Arguments that have a gradient, where they are given. */
  inputs: readonly (keyof ArgsOf<Op> & string)[];
  /** Outputs that take an upstream gradient; `y` if the op returns one tensor. */
  outputs: readonly string[];
  /** Outputs that the backward takes as arguments rather than computing them again. */
  saved?: readonly string[];
}

/**
 * The table of gradients. Its type has a key for every kernel with a backward: one that is missing does not compile.
 */
export const rules: { [Op in Differentiable]: Rule<Op> } = {
  selectiveScan: {
    inputs: ['u', 'delta', 'A', 'B', 'C', 'D', 'z', 'deltaBias', 'initialState'],
    outputs: ['y', 'lastState'],
  },
  ssd: {
    inputs: ['x', 'dt', 'A', 'B', 'C', 'D', 'z', 'dtBias', 'initialState'],
    outputs: ['y', 'lastState'],
  },
  mamba3: {
    // prettier-ignore
    inputs: [
      'x', 'dt', 'A', 'trap', 'B', 'C', 'angles', 'BBias', 'CBias', 'D', 'mimoX', 'dtBias',
      'initialAngle', 'initialState', 'initialB', 'initialX',
    ],
    outputs: ['y', 'lastAngle', 'lastState', 'lastB', 'lastX'],
  },
  mamba3Gate: { inputs: ['x', 'z', 'weight', 'mimoZ', 'mimoO'], outputs: ['y'] },
  linearAttention: {
    inputs: ['q', 'k', 'v', 'decay', 'gate', 'initialState', 'initialNormalizer'],
    outputs: ['o', 'lastState', 'lastNormalizer'],
  },
  deltaRule: { inputs: ['q', 'k', 'v', 'beta', 'initialState'], outputs: ['o', 'lastState'] },
  gatedDeltaRule: { inputs: ['q', 'k', 'v', 'beta', 'decay', 'initialState'], outputs: ['o', 'lastState'] },
  softmaxAttention: { inputs: ['q', 'k', 'v'], outputs: ['o', 'logSumExp'], saved: ['o', 'logSumExp'] },
  causalConv1d: { inputs: ['x', 'weight', 'bias', 'initialState'], outputs: ['y', 'lastState'] },
  matmul: { inputs: ['a', 'b', 'bias'], outputs: ['y'] },
  rmsNorm: { inputs: ['x', 'weight'], outputs: ['y'] },
  layerNorm: { inputs: ['x', 'weight', 'bias'], outputs: ['y'] },
  gatedRmsNorm: { inputs: ['x', 'z', 'weight'], outputs: ['y'] },
  rope: { inputs: ['x'], outputs: ['y'] },
  embedding: { inputs: ['weight'], outputs: ['y'] },
  crossEntropy: { inputs: ['logits'], outputs: ['loss'], saved: ['logSumExp'] },
  add: { inputs: ['a', 'b'], outputs: ['y'] },
  multiply: { inputs: ['a', 'b'], outputs: ['y'] },
  exp: { inputs: ['x'], outputs: ['y'] },
  negate: { inputs: ['x'], outputs: ['y'] },
  silu: { inputs: ['x'], outputs: ['y'] },
  gelu: { inputs: ['x'], outputs: ['y'] },
  softplus: { inputs: ['x'], outputs: ['y'] },
  logSigmoid: { inputs: ['x'], outputs: ['y'] },
  sigmoid: { inputs: ['x'], outputs: ['y'] },
  tanh: { inputs: ['x'], outputs: ['y'] },
  relu: { inputs: ['x'], outputs: ['y'] },
  relu2: { inputs: ['x'], outputs: ['y'] },
  scale: { inputs: ['x'], outputs: ['y'] },
  elu1: { inputs: ['x'], outputs: ['y'] },
};
