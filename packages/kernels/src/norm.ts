import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import type { Tensor } from './tensor.js';

/** Arguments of {@link rmsNorm}. */
export interface RmsNormArgs {
  x: Tensor;
  weight?: Tensor;
  eps?: number;
}

/** Arguments of {@link layerNorm}. */
export interface LayerNormArgs extends RmsNormArgs {
  bias?: Tensor;
}

/** Arguments of {@link gatedRmsNorm}. */
export interface GatedRmsNormArgs extends RmsNormArgs {
  z: Tensor;
  groups?: number;
  normBeforeGate?: boolean;
}

/** A gradient for an input that may be absent. */
function emptyLike(k: Context, tensor: Tensor | undefined): Tensor<'float32'> | undefined {
  return tensor && k.empty(tensor.shape);
}

/** Checks what all norms share, and binds `dim`. @returns number of rows */
function checkRows(check: Check, { x, weight, eps = 1e-5 }: RmsNormArgs): number {
  if (check.rank('x', x) === 0) check.shape('x', '[..., dim]', x);
  const dim = x.shape.at(-1)!;
  check.sizes.dim = dim;
  check.optional('weight', weight, ['dim']);
  check.number('eps', eps, 1e-30);
  return x.size / dim;
}

/**
 * Root mean square norm: `y = x / sqrt(mean(x^2) + eps) weight`, the mean over the last axis.
 *
 * @param x       `[..., dim]`
 * @param weight  `[dim]`; ones if absent
 * @param eps     above 0; 1e-5 if absent
 * @returns shaped like `x`
 * @throws ShapeError, ArgumentError if `eps` is not a number from 1e-30 up
 * @see Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467
 */
export function rmsNorm(k: Context, args: RmsNormArgs): Tensor<'float32'> {
  const check = new Check('rmsNorm', k);
  const rows = checkRows(check, args);
  const { x, weight, eps = 1e-5 } = args;
  const y = k.empty(x.shape);
  k.wasm.rmsNormForward(y.pointer, x.pointer, weight?.pointer ?? 0, rows, check.sizes.dim, eps);
  return y;
}

/**
 * Gradients of {@link rmsNorm}: arguments as there, and `dy` shaped like `x`.
 *
 * @returns `dx`, and `dweight` if there is a weight
 */
export function rmsNormBackward(
  k: Context,
  args: RmsNormArgs & { dy: Tensor },
): { dx: Tensor<'float32'>; dweight?: Tensor<'float32'> } {
  const check = new Check('rmsNormBackward', k);
  const rows = checkRows(check, args);
  const { x, weight, dy, eps = 1e-5 } = args;
  check.float32('dy', dy, x.shape);
  const { dim } = check.sizes;
  const outputs = { dx: k.empty(x.shape), dweight: emptyLike(k, weight) };
  k.scratch(k.wasm.rmsNormBackwardScratchBytes(dim), (scratch) => {
    k.wasm.rmsNormBackward(
      outputs.dx.pointer,
      outputs.dweight?.pointer ?? 0,
      scratch,
      dy.pointer,
      x.pointer,
      weight?.pointer ?? 0,
      rows,
      dim,
      eps,
    );
  });
  return outputs;
}

/**
 * Layer norm: `y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) weight + bias`, means over the last axis.
 *
 * @param x       `[..., dim]`
 * @param weight  `[dim]`; ones if absent
 * @param bias    `[dim]`; zeros if absent
 * @param eps     above 0; 1e-5 if absent
 * @returns shaped like `x`
 * @throws ShapeError, ArgumentError if `eps` is not a number from 1e-30 up
 * @see Ba, Kiros & Hinton 2016, https://arxiv.org/abs/1607.06450
 */
export function layerNorm(k: Context, args: LayerNormArgs): Tensor<'float32'> {
  const check = new Check('layerNorm', k);
  const rows = checkRows(check, args);
  const { x, weight, bias, eps = 1e-5 } = args;
  check.optional('bias', bias, ['dim']);
  const y = k.empty(x.shape);
  k.wasm.layerNormForward(
    y.pointer,
    x.pointer,
    weight?.pointer ?? 0,
    bias?.pointer ?? 0,
    rows,
    check.sizes.dim,
    eps,
  );
  return y;
}

/**
 * Gradients of {@link layerNorm}: arguments as there, and `dy` shaped like `x`.
 *
 * @returns `dx`, and `dweight` and `dbias` of those that are present
 */
export function layerNormBackward(
  k: Context,
  args: LayerNormArgs & { dy: Tensor },
): { dx: Tensor<'float32'>; dweight?: Tensor<'float32'>; dbias?: Tensor<'float32'> } {
  const check = new Check('layerNormBackward', k);
  const rows = checkRows(check, args);
  const { x, weight, bias, dy, eps = 1e-5 } = args;
  check.optional('bias', bias, ['dim']);
  check.float32('dy', dy, x.shape);
  const { dim } = check.sizes;
  const outputs = { dx: k.empty(x.shape), dweight: emptyLike(k, weight), dbias: emptyLike(k, bias) };
  k.scratch(k.wasm.layerNormBackwardScratchBytes(dim), (scratch) => {
    k.wasm.layerNormBackward(
      outputs.dx.pointer,
      outputs.dweight?.pointer ?? 0,
      outputs.dbias?.pointer ?? 0,
      scratch,
      dy.pointer,
      x.pointer,
      weight?.pointer ?? 0,
      rows,
      dim,
      eps,
    );
  });
  return outputs;
}

/** Checks the arguments of both passes. @returns rows, and the width of a group */
function checkGated(check: Check, args: GatedRmsNormArgs): { rows: number; width: number } {
  const rows = checkRows(check, args);
  const { x, z, groups = 1 } = args;
  check.float32('z', z, x.shape);
  const { dim } = check.sizes;
  check.integer('groups', groups, 1);
  if (dim % groups !== 0) check.argument('groups', `a divisor of dim = ${dim}`, groups);
  return { rows, width: dim / groups };
}

/**
 * Root mean square norm with a gate, as at the end of a Mamba-2 block: `y = rmsNorm(x silu(z)) weight`, or with
 * `normBeforeGate` `y = rmsNorm(x) weight silu(z)`.
 *
 * @param x       `[..., dim]`
 * @param z       gate, shaped like `x`
 * @param weight  `[dim]`; ones if absent
 * @param eps     above 0; 1e-5 if absent
 * @param groups  number of equal parts of `dim`, each normed by a mean of its own; 1 if absent
 * @param normBeforeGate  which comes first; false if absent, as in Mamba-2
 * @returns shaped like `x`
 * @throws ShapeError, ArgumentError if `groups` does not divide `dim` or `eps` is not a number from 1e-30 up
 * @see Dao & Gu 2024, section 7, https://arxiv.org/abs/2405.21060
 */
export function gatedRmsNorm(k: Context, args: GatedRmsNormArgs): Tensor<'float32'> {
  const { rows, width } = checkGated(new Check('gatedRmsNorm', k), args);
  const { x, z, weight, eps = 1e-5, groups = 1, normBeforeGate = false } = args;
  const y = k.empty(x.shape);
  k.wasm.gatedRmsNormForward(
    y.pointer,
    x.pointer,
    z.pointer,
    weight?.pointer ?? 0,
    rows,
    groups,
    width,
    eps,
    normBeforeGate,
  );
  return y;
}

/**
 * Gradients of {@link gatedRmsNorm}: arguments as there, and `dy` shaped like `x`.
 *
 * @returns `dx`, `dz`, and `dweight` if there is a weight
 */
export function gatedRmsNormBackward(
  k: Context,
  args: GatedRmsNormArgs & { dy: Tensor },
): { dx: Tensor<'float32'>; dz: Tensor<'float32'>; dweight?: Tensor<'float32'> } {
  const check = new Check('gatedRmsNormBackward', k);
  const { rows, width } = checkGated(check, args);
  const { x, z, weight, dy, eps = 1e-5, groups = 1, normBeforeGate = false } = args;
  check.float32('dy', dy, x.shape);
  const outputs = { dx: k.empty(x.shape), dz: k.empty(x.shape), dweight: emptyLike(k, weight) };
  k.scratch(k.wasm.gatedRmsNormBackwardScratchBytes(groups, width), (scratch) => {
    k.wasm.gatedRmsNormBackward(
      outputs.dx.pointer,
      outputs.dz.pointer,
      outputs.dweight?.pointer ?? 0,
      scratch,
      dy.pointer,
      x.pointer,
      z.pointer,
      weight?.pointer ?? 0,
      rows,
      groups,
      width,
      eps,
      normBeforeGate,
    );
  });
  return outputs;
}

const shared = { x: 'tensor', weight: 'tensor', eps: 'number' } as const;
const gated = { ...shared, z: 'tensor', groups: 'number', normBeforeGate: 'flag' } as const;

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  rmsNorm: op(rmsNorm, shared),
  rmsNormBackward: op(rmsNormBackward, { ...shared, dy: 'tensor' }),
  layerNorm: op(layerNorm, { ...shared, bias: 'tensor' }),
  layerNormBackward: op(layerNormBackward, { ...shared, bias: 'tensor', dy: 'tensor' }),
  gatedRmsNorm: op(gatedRmsNorm, gated),
  gatedRmsNormBackward: op(gatedRmsNormBackward, { ...gated, dy: 'tensor' }),
};
