import { Check } from './check.js';
import type { Context } from './context.js';
import type { Tensor } from './tensor.js';

/** @internal e^x of each element; public so that the helper inside the kernels can be checked. */
export function exp(k: Context, { x }: { x: Tensor }): Tensor<'float32'> {
  const check = new Check('exp', k);
  check.rank('x', x);
  const y = k.empty(x.shape);
  k.wasm.expForward(y.pointer, x.pointer, x.size);
  return y;
}

/**
 * SiLU (swish): `y = x sigmoid(x)`.
 *
 * @param x any shape
 * @returns shaped like `x`
 * @see Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415
 */
export function silu(k: Context, { x }: { x: Tensor }): Tensor<'float32'> {
  const check = new Check('silu', k);
  check.rank('x', x);
  const y = k.empty(x.shape);
  k.wasm.siluForward(y.pointer, x.pointer, x.size);
  return y;
}

/**
 * Gradient of {@link silu}.
 *
 * @param x   the input of the forward call
 * @param dy  gradient of its output, shaped like `x`
 * @returns `dx`, shaped like `x`
 * @throws ShapeError if `dy` is not shaped like `x`
 */
export function siluBackward(k: Context, { x, dy }: { x: Tensor; dy: Tensor }): { dx: Tensor<'float32'> } {
  const check = new Check('siluBackward', k);
  check.rank('x', x);
  check.float32('dy', dy, x.shape);
  const dx = k.empty(x.shape);
  k.wasm.siluBackward(dx.pointer, dy.pointer, x.pointer, x.size);
  return { dx };
}
