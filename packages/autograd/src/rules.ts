import type { Kernels } from '@freelunch/kernels';

/** Kernels that have a backward: `silu`, because there is `siluBackward`. */
export type Differentiable = { [Op in keyof Kernels]: `${Op & string}Backward` extends keyof Kernels ? Op : never }[keyof Kernels];

export type ArgsOf<Op extends Differentiable> = Kernels[Op] extends (args: infer Args) => unknown ? Args : never;
export type ResultOf<Op extends Differentiable> = Kernels[Op] extends (args: never) => infer Result ? Result : never;

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
export const rules: { [Op in Differentiable]: Rule<Op> } = {} as never;
