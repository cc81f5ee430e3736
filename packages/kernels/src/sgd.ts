import { op } from './arguments.js';
import { Check } from './check.js';
import type { Context } from './context.js';
import { MOVE_NS, runElements } from './slices.js';
import type { Tensor } from './tensor.js';

/** Arguments of {@link sgd}. */
export interface SgdArgs {
  parameter: Tensor;
  gradient: Tensor;
  velocity?: Tensor;
  learningRate: number;
  momentum?: number;
  weightDecay?: number;
}

/**
 * One step of gradient descent with momentum, in place:
 *
 *   velocity = momentum velocity + gradient + weightDecay parameter
 *   parameter -= learningRate velocity
 *
 * @param parameter     any shape; changed
 * @param gradient      shaped like `parameter`
 * @param velocity      likewise, zeros before the first step; changed. Without `momentum` it may be absent
 * @param learningRate  from 0 up
 * @param momentum      from 0 up, below 1; 0 if absent
 * @param weightDecay   from 0 up; 0 if absent
 * @throws ShapeError, ArgumentError if a number is out of its range; nothing is changed then
 * @see Polyak 1964, https://doi.org/10.1016/0041-5553(64)90137-5
 */
export function sgd(
  k: Context,
  { parameter, gradient, velocity, learningRate, momentum = 0, weightDecay = 0 }: SgdArgs,
): void {
  const check = new Check('sgd', k);
  check.rank('parameter', parameter);
  check.float32('gradient', gradient, parameter.shape);
  const kept = check.optional('velocity', velocity, parameter.shape);
  check.number('learningRate', learningRate, 0);
  check.factor('momentum', momentum);
  if (momentum > 0 && kept === 0) check.argument('velocity', 'given with momentum', velocity);
  check.number('weightDecay', weightDecay, 0);
  runElements(k, 'sgdStep', [parameter.pointer, kept, gradient.pointer], parameter.size, MOVE_NS, [
    learningRate,
    momentum,
    weightDecay,
  ]);
}

/** What becomes `k.*`, with the arguments of each. */
export const ops = {
  sgd: op(sgd, {
    parameter: 'tensor',
    gradient: 'tensor',
    velocity: 'tensor',
    learningRate: 'number',
    momentum: 'number',
    weightDecay: 'number',
  }),
};
