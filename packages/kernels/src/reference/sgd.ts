/**
 * Gradient descent with momentum (Polyak 1964, doi:10.1016/0041-5553(64)90137-5).
 *
 *   velocity = momentum velocity + gradient + weightDecay parameter
 *   parameter -= learningRate velocity
 *
 *   parameter, gradient, velocity  any shape, all alike
 */
import type { Array64 } from './array64.js';

/** One step of gradient descent with momentum: `parameter` and, if given, `velocity` after it. */
export function sgd({
  parameter,
  gradient,
  velocity,
  learningRate,
  momentum = 0,
  weightDecay = 0,
}: {
  parameter: Array64;
  gradient: Array64;
  velocity?: Array64;
  learningRate: number;
  momentum?: number;
  weightDecay?: number;
}): Record<string, Array64> {
  const p = parameter.data.slice();
  const kept = velocity?.data.slice();
  for (let i = 0; i < p.length; i++) {
    const g = gradient.data[i] + weightDecay * p[i];
    const next = kept === undefined ? g : momentum * kept[i] + g;
    if (kept !== undefined) kept[i] = next;
    p[i] -= learningRate * next;
  }
  const { shape } = parameter;
  const updated = { parameter: { shape, data: p } };
  return kept === undefined ? updated : { ...updated, velocity: { shape, data: kept } };
}
