import { give, type GoldenRunner, take } from './golden.ts';

const run: GoldenRunner = (k, golden) => {
  const { n, steps, lr, betas, eps, weight_decay, decoupled_weight_decay } = golden.config;
  const parameter = give(k, golden, 'in.param')!;
  const m = k.zeros([n]);
  const v = k.zeros([n]);
  const parameters = new Float32Array(steps * n);
  for (let step = 1; step <= steps; step++) {
    const gradient = k.tensor(
      golden.tensors['in.grads'].data.slice((step - 1) * n, step * n),
      [n],
      'float32',
    );
    k.adamW({
      parameter,
      gradient,
      m,
      v,
      step,
      learningRate: lr,
      beta1: betas[0],
      beta2: betas[1],
      eps,
      weightDecay: weight_decay,
      decoupled: decoupled_weight_decay,
    });
    parameters.set(take(parameter), (step - 1) * n);
  }
  return { 'out.params': parameters, 'out.exp_avg': take(m), 'out.exp_avg_sq': take(v) };
};

export const adamWRunners: Record<string, GoldenRunner> = { adamw: run, adam: run };
