import type { Tensor } from '@freelunch/kernels';
import { give, type GoldenRunner, take } from './golden.ts';

const featureMaps = { identity: 'identity', relu: 'relu', elu_plus_one: 'elu1' } as const;

/** All four ops are one function here; layouts agree. */
const run: GoldenRunner = (k, golden) => {
  const { config } = golden;
  const tensor = (name: string) => give(k, golden, name);
  const optional = <T>(name: string, value: T | undefined) => (value === undefined ? {} : { [name]: value });
  const gamma = golden.tensors['in.gamma'];
  const decay =
    gamma === undefined ? tensor('in.g') : k.tensor(Array.from(gamma.data, Math.log), gamma.shape);
  const args = {
    q: tensor('in.q')!,
    k: tensor('in.k')!,
    v: tensor('in.v')!,
    ...optional('decay', decay),
    ...optional('gate', tensor('in.gk')),
    ...optional('initialState', tensor('in.initial_state')),
    ...optional('scale', config.scale ?? undefined),
    ...optional('eps', config.eps ?? undefined),
    featureMap: featureMaps[(config.feature_map ?? 'identity') as keyof typeof featureMaps],
    normalize: config.normalize ?? false,
  };
  const initialNormalizer = optional('initialNormalizer', tensor('in.initial_z'));
  // The golden op gives z in any case, ours where it normalises.
  const z = k.linearAttention({ ...args, ...initialNormalizer, normalize: true }).lastNormalizer!;
  const whole = { ...args, ...(args.normalize ? initialNormalizer : {}) };
  const { o, lastState } = k.linearAttention(whole);
  const results: Record<string, Tensor | undefined> = {
    'out.o': o,
    'out.final_state': lastState,
    'out.final_z': z,
  };
  if (golden.tensors['grad.q'] !== undefined) {
    const gradients = k.linearAttentionBackward({
      ...whole,
      ...optional('do', tensor('up.o')),
      ...optional('dLastState', tensor('up.final_state')),
      ...optional('dLastNormalizer', args.normalize ? tensor('up.final_z') : undefined),
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
