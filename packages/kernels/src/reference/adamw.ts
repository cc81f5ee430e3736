/**
 * AdamW (Loshchilov & Hutter 2019, algorithm 2, arXiv:1711.05101), or Adam with L2 (Kingma & Ba 2015, arXiv:1412.6980).
 *
 *   m = beta1 m + (1 - beta1) gradient        v = beta2 v + (1 - beta2) gradient^2
 *   parameter -= learningRate (weightDecay parameter + m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps))
 *
 *   parameter, gradient, m, v  any shape, all alike
 */
import type { Array64 } from './array64.js';

/** One step of AdamW, or of Adam with L2: `parameter`, `m` and `v` after it */
export function adamW({
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
}: {
  parameter: Array64;
  gradient: Array64;
  m: Array64;
  v: Array64;
  step: number;
  learningRate: number;
  beta1?: number;
  beta2?: number;
  eps?: number;
  weightDecay?: number;
  decoupled?: boolean;
}): { parameter: Array64; m: Array64; v: Array64 } {
  const p = parameter.data.slice();
  const first = m.data.slice();
  const second = v.data.slice();
  for (let i = 0; i < p.length; i++) {
    const g = gradient.data[i] + (decoupled ? 0 : weightDecay * p[i]);
    if (decoupled) p[i] -= learningRate * weightDecay * p[i];
    first[i] = beta1 * first[i] + (1 - beta1) * g;
    second[i] = beta2 * second[i] + (1 - beta2) * g * g;
    const mean = first[i] / (1 - beta1 ** step);
    const square = second[i] / (1 - beta2 ** step);
    p[i] -= (learningRate * mean) / (Math.sqrt(square) + eps);
  }
  const { shape } = parameter;
  return { parameter: { shape, data: p }, m: { shape, data: first }, v: { shape, data: second } };
}
