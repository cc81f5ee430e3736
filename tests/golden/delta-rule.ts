import type { Tensor } from '@freelunch/kernels';
import { give, type GoldenRunner, take } from './golden.ts';

/** Layouts agree. */
const run: GoldenRunner = (k, golden) => {
  const { config } = golden;
  const tensor = (name: string) => give(k, golden, name);
  const args = {
    q: tensor('in.q')!,
    k: tensor('in.k')!,
    v: tensor('in.v')!,
    beta: tensor('in.beta')!,
    initialState: tensor('in.initial_state'),
    scale: config.scale,
    l2Normalize: config.qk_l2norm ?? false,
    eps: config.l2norm_eps ?? undefined,
  };
  const decay = tensor('in.g');
  const up = { do: tensor('up.o'), dLastState: tensor('up.final_state') };
  const hasGradient = up.do !== undefined || up.dLastState !== undefined;
  const { o, lastState } = decay ? k.gatedDeltaRule({ ...args, decay }) : k.deltaRule(args);
  const results: Record<string, Tensor | undefined> = { 'out.o': o, 'out.final_state': lastState };
  if (hasGradient) {
    const gradients = decay
      ? k.gatedDeltaRuleBackward({ ...args, decay, ...up })
      : { ddecay: undefined, ...k.deltaRuleBackward({ ...args, ...up }) };
    results['grad.q'] = gradients.dq;
    results['grad.k'] = gradients.dk;
    results['grad.v'] = gradients.dv;
    results['grad.beta'] = gradients.dbeta;
    results['grad.g'] = gradients.ddecay;
    results['grad.initial_state'] = gradients.dInitialState;
  }
  return Object.fromEntries(
    Object.entries(results).flatMap(([name, result]) => (result === undefined ? [] : [[name, take(result)]])),
  );
};

export const deltaRuleRunners: Record<string, GoldenRunner> = { delta_rule: run, gated_delta_rule: run };
