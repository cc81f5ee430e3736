import type { Context } from './context.js';
import type { Tensor } from './tensor.js';

/** A tensor for each shape; for one that may be absent, a tensor or nothing. */
export type Outputs<Shapes> = {
  [Name in keyof Shapes]: undefined extends Shapes[Name] ? Tensor<'float32'> | undefined : Tensor<'float32'>;
};

/**
 * Allocates all outputs of one call, or none: if memory runs out on the way, what was made is freed.
 * An absent shape, as of the gradient of an absent input, gives no tensor.
 */
export function emptyOutputs<Shapes extends Record<string, readonly number[] | undefined>>(
  k: Context,
  shapes: Shapes,
): Outputs<Shapes> {
  const made: Record<string, Tensor<'float32'>> = {};
  try {
    for (const [name, shape] of Object.entries(shapes)) if (shape !== undefined) made[name] = k.empty(shape);
  } catch (error) {
    for (const tensor of Object.values(made)) tensor.dispose();
    throw error;
  }
  return made as Outputs<Shapes>;
}

/** Scratch memory for a kernel that writes into `outputs`, which are freed if there is none. */
export function scratchFor(
  k: Context,
  bytes: number,
  outputs: Record<string, Tensor | undefined>,
  use: (address: number) => void,
): void {
  try {
    k.scratch(bytes, use);
  } catch (error) {
    for (const tensor of Object.values(outputs)) tensor?.dispose();
    throw error;
  }
}
