import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import { pointers } from './pointers.js';
import type { Tensor } from './tensor.js';

/** Arguments of {@link mamba3Gate}. */
export interface Mamba3GateArgs {
  x: Tensor;
  z: Tensor;
  weight?: Tensor;
  eps?: number;
  mimoZ?: Tensor;
  mimoO?: Tensor;
}

export interface Mamba3GateGradients {
  dx: Tensor<'float32'>;
  dz: Tensor<'float32'>;
  dweight?: Tensor<'float32'>;
  dMimoZ?: Tensor<'float32'>;
  dMimoO?: Tensor<'float32'>;
}

/** Nanoseconds per element of x. */
const GATE_NS = 2;
const GATE_BACKWARD_NS = 6;

/** Checks the arguments of both passes. @returns those of the kernels in their order, and the number of tokens */
function checkArgs(check: Check, { x, z, weight, eps = 1e-5, mimoZ, mimoO }: Mamba3GateArgs) {
  if (check.rank('x', x) < 3) check.shape('x', '[..., nHeads, nRanks, headDim]', x);
  const leading = x.shape.slice(0, -3);
  check.float32('x', x, [...leading, 'nHeads', 'nRanks', 'headDim']);
  check.float32('z', z, [...leading, 'nHeads', 'headDim']);
  const { nHeads, nRanks, headDim } = check.sizes;
  check.sizes.dInner = nHeads * headDim;
  check.number('eps', eps, 1e-30);
  const tensors = [
    x.pointer,
    z.pointer,
    check.optional('weight', weight, ['dInner']),
    check.optional('mimoZ', mimoZ, ['nHeads', 'nRanks', 'headDim']),
    check.optional('mimoO', mimoO, ['nHeads', 'nRanks', 'headDim']),
  ] as const;
  const tokens = leading.reduce((product, size) => product * size, 1);
  return { tensors, tokens, sizes: [nHeads, nRanks, headDim, eps] as const };
}

/**
 * What follows {@link mamba3} in a block: norm, gate, and the sum over ranks.
 *
 *     y[h] = sum_r mimoO[h, r] n(x[h, r]) silu(z[h] mimoZ[h, r])
 *
 * n is the root mean square norm over `headDim` times `weight`, or `x` itself if there is no `weight`.
 *
 * @param x       `[..., nHeads, nRanks, headDim]`, as `y` of {@link mamba3}
 * @param z       gate, `[..., nHeads, headDim]`
 * @param weight  `[nHeads headDim]`, shared by the ranks; no norm if absent
 * @param eps     above 0; 1e-5 if absent
 * @param mimoZ   `[nHeads, nRanks, headDim]`; ones if absent; `mimoO` alike
 * @returns shaped like `z`
 * @throws ShapeError if a shape does not fit, ArgumentError if `eps` is not a number from 1e-30 up
 * @see Mamba-3, https://github.com/state-spaces/mamba
 */
export function mamba3Gate(k: Context, args: Mamba3GateArgs): Tensor<'float32'> {
  const { tensors, tokens, sizes } = checkArgs(new Check('mamba3Gate', k), args);
  const y = k.empty(args.z.shape);
  k.run('mamba3GateForward', [y.pointer, ...tensors, ...sizes], {
    units: tokens,
    nanoseconds: args.x.size * GATE_NS,
  });
  return y;
}

/**
 * Gradients of {@link mamba3Gate}: arguments as there, and `dy` shaped like `z`.
 *
 * @returns a gradient of each input that was given, shaped like it
 */
export function mamba3GateBackward(k: Context, args: Mamba3GateArgs & { dy: Tensor }): Mamba3GateGradients {
  const check = new Check('mamba3GateBackward', k);
  const { tensors, tokens, sizes } = checkArgs(check, args);
  const { x, z, weight, mimoZ, mimoO, dy } = args;
  check.float32('dy', dy, z.shape);
  const gradients: Mamba3GateGradients = { dx: k.empty(x.shape), dz: k.empty(z.shape) };
  if (weight !== undefined) gradients.dweight = k.empty(weight.shape);
  if (mimoZ !== undefined) gradients.dMimoZ = k.empty(mimoZ.shape);
  if (mimoO !== undefined) gradients.dMimoO = k.empty(mimoO.shape);
  const { dx, dz, dweight, dMimoZ, dMimoO } = gradients;
  const [nHeads, nRanks, headDim] = sizes;
  k.run(
    'mamba3GateBackward',
    [...pointers(dx, dz, dweight, dMimoZ, dMimoO, dy), ...tensors, tokens, ...sizes],
    {
      units: nHeads,
      nanoseconds: x.size * GATE_BACKWARD_NS,
      scratchBytes: k.wasm.mamba3GateBackwardScratchBytes(nRanks, headDim),
    },
  );
  return gradients;
}

const shared = {
  x: 'tensor',
  z: 'tensor',
  weight: 'tensor',
  eps: 'number',
  mimoZ: 'tensor',
  mimoO: 'tensor',
} as const;

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  mamba3Gate: op(mamba3Gate, shared),
  mamba3GateBackward: op(mamba3GateBackward, { ...shared, dy: 'tensor' }),
};
