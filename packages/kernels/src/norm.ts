import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import { MOVE_NS } from './slices.js';
import type { Tensor } from './tensor.js';
import type { KernelName } from './threads/pool.js';

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

/** Nanoseconds per element of a pass over rows; a gate takes an exponential. */
const ROW_NS = 2 * MOVE_NS;
const GATED_NS = 2;

/** Rows in each of the runs whose gradients of weight and bias are added up apart: by sizes only, so are the bits. */
const rowsInRun = (rows: number) => Math.max(256, Math.ceil(rows / 16 / 32) * 32);

/**
 * A pass over rows: `kernel(...addresses, ...shared, rows, ...rest)`.
 *
 * @param arrays  addresses of arrays with rows of `rowBytes`
 * @param shared  addresses of what is the same for all rows
 */
function runRows(
  k: Context,
  kernel: KernelName,
  arrays: readonly number[],
  shared: readonly number[],
  rows: number,
  rowBytes: number,
  nsPerElement: number,
  rest: readonly number[],
): void {
  k.run(kernel, [...arrays, ...shared, rows, ...rest], {
    units: rows,
    nanoseconds: (rows * rowBytes * nsPerElement) / 4,
    slices: { countAt: arrays.length + shared.length, steps: arrays.map(() => rowBytes) },
  });
}

/** Gradients that are sums over rows, [dim] each, in the order in which the kernel leaves them. */
type ColumnSums = readonly (Tensor | undefined)[];

/**
 * A backward pass: `kernel(...outputs, scratch, ...inputs, weight, rows, ...rest)`. It leaves sums of float64 over its rows
 * in scratch, `sums.length` times the same number of bytes; they are added up run by run.
 */
function runRowsBackward(
  k: Context,
  kernel: KernelName,
  outputs: readonly number[],
  inputs: readonly number[],
  weight: number,
  rows: number,
  dim: number,
  nsPerElement: number,
  rest: readonly number[],
  runBytes: number,
  sums: ColumnSums,
): void {
  const grain = rowsInRun(rows);
  const runs = Math.ceil(rows / grain);
  k.scratch(runBytes * runs, (scratch) => {
    const across = (addresses: readonly number[]) => addresses.map(() => dim * 4);
    k.run(kernel, [...outputs, scratch, ...inputs, weight, rows, ...rest], {
      units: rows,
      grain,
      nanoseconds: rows * dim * nsPerElement,
      slices: {
        countAt: outputs.length + inputs.length + 2,
        steps: [...across(outputs), runBytes / grain, ...across(inputs)],
      },
    });
    sums.forEach((gradient, i) => {
      const totals = scratch + (i * runBytes) / sums.length;
      if (gradient) k.wasm.writeColumnSums(gradient.pointer, totals, dim, runs, runBytes);
    });
  });
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
  const { dim } = check.sizes;
  const weights = [weight?.pointer ?? 0];
  runRows(k, 'rmsNormForward', [y.pointer, x.pointer], weights, rows, dim * 4, ROW_NS, [dim, eps]);
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
  // prettier-ignore
  runRowsBackward(
    k, 'rmsNormBackward', [outputs.dx.pointer], [dy.pointer, x.pointer], weight?.pointer ?? 0, rows, dim, 2 * ROW_NS,
    [dim, eps], k.wasm.rmsNormBackwardScratchBytes(dim), [outputs.dweight],
  );
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
  const { dim } = check.sizes;
  const weights = [weight?.pointer ?? 0, bias?.pointer ?? 0];
  runRows(k, 'layerNormForward', [y.pointer, x.pointer], weights, rows, dim * 4, ROW_NS, [dim, eps]);
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
  // prettier-ignore
  runRowsBackward(
    k, 'layerNormBackward', [outputs.dx.pointer], [dy.pointer, x.pointer], weight?.pointer ?? 0, rows, dim, 2 * ROW_NS,
    [dim, eps], k.wasm.layerNormBackwardScratchBytes(dim), [outputs.dweight, outputs.dbias],
  );
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
  const arrays = [y.pointer, x.pointer, z.pointer];
  const weights = [weight?.pointer ?? 0];
  const rest = [groups, width, eps, Number(normBeforeGate)];
  runRows(k, 'gatedRmsNormForward', arrays, weights, rows, groups * width * 4, GATED_NS, rest);
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
  // prettier-ignore
  runRowsBackward(
    k, 'gatedRmsNormBackward', [outputs.dx.pointer, outputs.dz.pointer], [dy.pointer, x.pointer, z.pointer],
    weight?.pointer ?? 0, rows, groups * width, 2 * GATED_NS, [groups, width, eps, Number(normBeforeGate)],
    k.wasm.gatedRmsNormBackwardScratchBytes(groups, width), [outputs.dweight],
  );
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
