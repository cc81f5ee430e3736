import type { Kernels, Tensor } from '@freelunch/kernels';
import { give, type GoldenRunner, take } from './golden.ts';

interface Unary {
  forward(k: Kernels, x: Tensor): Tensor;
  backward(k: Kernels, x: Tensor, dy: Tensor): { dx: Tensor };
}

const functions: Record<string, Unary> = {
  silu: { forward: (k, x) => k.silu({ x }), backward: (k, x, dy) => k.siluBackward({ x, dy }) },
  gelu_erf: { forward: (k, x) => k.gelu({ x }), backward: (k, x, dy) => k.geluBackward({ x, dy }) },
  gelu_tanh: {
    forward: (k, x) => k.gelu({ x, approximate: 'tanh' }),
    backward: (k, x, dy) => k.geluBackward({ x, dy, approximate: 'tanh' }),
  },
  softplus: { forward: (k, x) => k.softplus({ x }), backward: (k, x, dy) => k.softplusBackward({ x, dy }) },
  sigmoid: { forward: (k, x) => k.sigmoid({ x }), backward: (k, x, dy) => k.sigmoidBackward({ x, dy }) },
  logsigmoid: {
    forward: (k, x) => k.logSigmoid({ x }),
    backward: (k, x, dy) => k.logSigmoidBackward({ x, dy }),
  },
  tanh: { forward: (k, x) => k.tanh({ x }), backward: (k, x, dy) => k.tanhBackward({ x, dy }) },
  relu: { forward: (k, x) => k.relu({ x }), backward: (k, x, dy) => k.reluBackward({ x, dy }) },
  elu_plus_one: { forward: (k, x) => k.elu1({ x }), backward: (k, x, dy) => k.elu1Backward({ x, dy }) },
};

export const activationRunners: Record<string, GoldenRunner> = {
  unary: (k, golden) => {
    const { forward, backward } = functions[golden.config.fn];
    const x = give(k, golden, 'in.x')!;
    const dy = give(k, golden, 'up.y')!;
    return { 'out.y': take(forward(k, x)), 'grad.x': take(backward(k, x, dy).dx) };
  },
};
