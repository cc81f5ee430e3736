import type { Tensor } from '@freelunch/kernels';
import { give, type GoldenRunner, take } from './golden.ts';

const featureMaps = { identity: 'identity', relu: 'relu', elu_plus_one: 'elu1' } as const;

/** All four ops are one function here; layouts agree. */
const run: GoldenRunner = (k, golden) => {
  const { config } = golden;
  const tensor = (name: string) => give(k, golden, name);
  const gamma = golden.tensors['in.gamma'];
  const args = {
    q: tensor('in.q')!,
    k: tensor('in.k')!,
    v: tensor('in.v')!,
    decay: gamma === undefined ? tensor('in.g') : k.tensor(Array.from(gamma.data, Math.log), gamma.shape),
    gate: tensor('in.gk'),
    initialState: tensor('in.initial_state'),
    scale: config.scale,
    eps: config.eps ?? undefined,
    featureMap: featureMaps[(config.feature_map ?? 'identity') as keyof typeof featureMaps],
    normalize: config.normalize ?? false,
  };
  const initialNormalizer = tensor('in.initial_z');
  // The golden op gives z in any case, ours where it normalises.
  const z = k.linearAttention({ ...args, initialNormalizer, normalize: true }).lastNormalizer!;
  const whole = { ...args, initialNormalizer: args.normalize ? initialNormalizer : undefined };
  const { o, lastState } = k.linearAttention(whole);
  const results: Record<string, Tensor | undefined> = {
    'out.o': o,
    'out.final_state': lastState,
    'out.final_z': z,
  };
  if (golden.tensors['up.o'] !== undefined || golden.tensors['up.final_state'] !== undefined) {
    const gradients = k.linearAttentionBackward({
      ...whole,
      do: tensor('up.o'),
      dLastState: tensor('up.final_state'),
      dLastNormalizer: args.normalize ? tensor('up.final_z') : undefined,
    });
    Object.assign(results, {
      'grad.q': gradients.dq,
      'grad.k': gradients.dk,
      'grad.v': gradients.dv,
      'grad.g': gradients.ddecay,
      'grad.gk': gradients.dgate,
      'grad.initial_state': gradients.dInitialState,
      'grad.initial_z': gradients.dInitialNormalizer,
    });
  }
  return Object.fromEntries(
    Object.entries(results).flatMap(([name, result]) => (result === undefined ? [] : [[name, take(result)]])),
  );
};

export const linearAttentionRunners: Record<string, GoldenRunner> = {
  linear_attention: run,
  retention: run,
  simple_gla: run,
  gla: run,
};
