import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import { MOVE_NS, runElements } from './slices.js';
import type { Tensor } from './tensor.js';

/** Elements whose squares are added up one after the other, whatever the number of threads; and nanoseconds for each. */
const NORM_RUN = 2 ** 16;
const NORM_NS = 0.25;

/** Arguments of {@link adamW}. */
export interface AdamWArgs {
  parameter: Tensor;
  gradient: Tensor;
  m: Tensor;
  v: Tensor;
  step: number;
  learningRate: number;
  beta1?: number;
  beta2?: number;
  eps?: number;
  weightDecay?: number;
  decoupled?: boolean;
}

/**
 * One step of AdamW, in place:
 *
 *   m = beta1 m + (1 - beta1) gradient              mean = m / (1 - beta1^step)
 *   v = beta2 v + (1 - beta2) gradient^2            square = v / (1 - beta2^step)
 *   parameter -= learningRate (weightDecay parameter + mean / (sqrt(square) + eps))
 *
 * Not `decoupled`, it is Adam with L2: `weightDecay parameter` is added to the gradient instead.
 *
 * As in PyTorch, m and v are float32: where a gradient is so large that `(1 - beta2) gradient^2` exceeds 3.4e38 (5.8e20
 * with the default beta2), v becomes Infinity and stays it, and that element of the parameter has no further updates
 * except its decay. Clip gradients by their norm, which is computed in float64, to prevent it.
 *
 * @param parameter  any shape; changed
 * @param gradient   shaped like `parameter`
 * @param m          running mean of gradients, shaped like `parameter`, zeros before the first step; changed
 * @param v          running mean of their squares, likewise
 * @param step          number of this step, from 1 up
 * @param learningRate  from 0 up
 * @param beta1         from 0 up, below 1; 0.9 if absent
 * @param beta2         likewise; 0.999 if absent
 * @param eps           above 0; 1e-8 if absent
 * @param weightDecay   from 0 up; 0.01 if absent and `decoupled`, else 0
 * @param decoupled     true if absent
 * @throws ShapeError, ArgumentError if a number is out of its range; nothing is changed then
 * @see Loshchilov & Hutter 2019, algorithm 2, https://arxiv.org/abs/1711.05101
 */
export function adamW(
  k: Context,
  {
    parameter,
    gradient,
    m,
    v,
    step,
    learningRate,
    beta1 = 0.9,
    beta2 = 0.999,
    eps = 1e-8,
    decoupled = true,
    weightDecay = decoupled ? 0.01 : 0,
  }: AdamWArgs,
): void {
  const check = new Check('adamW', k);
  check.rank('parameter', parameter);
  check.float32('gradient', gradient, parameter.shape);
  check.float32('m', m, parameter.shape);
  check.float32('v', v, parameter.shape);
  check.integer('step', step, 1);
  check.number('learningRate', learningRate, 0);
  check.factor('beta1', beta1);
  check.factor('beta2', beta2);
  check.number('eps', eps, 1e-30);
  check.number('weightDecay', weightDecay, 0);
  const addresses = [parameter.pointer, m.pointer, v.pointer, gradient.pointer];
  runElements(k, 'adamWStep', addresses, parameter.size, 3 * MOVE_NS, [
    step,
    learningRate,
    beta1,
    beta2,
    eps,
    decoupled ? weightDecay : 0,
    decoupled ? 0 : weightDecay,
  ]);
}

function checkTensors(check: Check, tensors: readonly Tensor[]): void {
  if (tensors === undefined) check.argument('tensors', 'an array of tensors', tensors);
  tensors.forEach((tensor, i) => check.rank(`tensors[${i}]`, tensor));
}

function norm(k: Context, tensors: readonly Tensor[]): number {
  const runsOf = ({ size }: Tensor) => Math.ceil(size / NORM_RUN);
  const runs = tensors.reduce((total, tensor) => total + runsOf(tensor), 0);
  return k.scratch(runs * 8, (sums) => {
    let at = sums;
    for (const tensor of tensors) {
      k.run('sumsOfSquares', [at, tensor.pointer, tensor.size, NORM_RUN], {
        units: runsOf(tensor),
        nanoseconds: tensor.size * NORM_NS,
      });
      at += runsOf(tensor) * 8;
    }
    const squares = new Float64Array(k.allocator.memory.buffer, sums, runs);
    return Math.sqrt(squares.reduce((total, square) => total + square, 0));
  });
}

/** Euclidean norm of all elements of all tensors, added up in float64; 0 if there is none. */
export function globalNorm(k: Context, { tensors }: { tensors: readonly Tensor[] }): number {
  checkTensors(new Check('globalNorm', k), tensors);
  return norm(k, tensors);
}

/**
 * Scales tensors in place so that their {@link globalNorm} is at most `maxNorm`: by
 * `min(1, maxNorm / (norm + 1e-6))`. A norm that is NaN or infinite changes nothing: look at what is returned.
 *
 * @param tensors  gradients, any shapes; changed
 * @param maxNorm  above 0
 * @returns the norm before
 * @see Pascanu, Mikolov & Bengio 2013, algorithm 1, https://arxiv.org/abs/1211.5063
 */
export function clipGradNorm(
  k: Context,
  { tensors, maxNorm }: { tensors: readonly Tensor[]; maxNorm: number },
): number {
  const check = new Check('clipGradNorm', k);
  checkTensors(check, tensors);
  check.number('maxNorm', maxNorm, Number.MIN_VALUE);
  const before = norm(k, tensors);
  const factor = maxNorm / (before + 1e-6);
  if (Number.isFinite(before) && factor < 1) {
    for (const tensor of tensors)
      runElements(k, 'scaleInPlace', [tensor.pointer], tensor.size, MOVE_NS, [factor]);
  }
  return before;
}

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  adamW: op(adamW, {
    parameter: 'tensor',
    gradient: 'tensor',
    m: 'tensor',
    v: 'tensor',
    step: 'number',
    learningRate: 'number',
    beta1: 'number',
    beta2: 'number',
    eps: 'number',
    weightDecay: 'number',
    decoupled: 'flag',
  }),
  globalNorm: op(globalNorm, { tensors: 'list' }),
  clipGradNorm: op(clipGradNorm, { tensors: 'list', maxNorm: 'number' }),
};
