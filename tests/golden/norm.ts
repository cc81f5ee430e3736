import { give, type GoldenRunner, take } from './golden.ts';

export const normRunners: Record<string, GoldenRunner> = {
  rms_norm: (k, golden) => {
    const args = {
      x: give(k, golden, 'in.x')!,
      weight: give(k, golden, 'in.weight'),
      eps: golden.config.eps,
    };
    const { dx, dweight } = k.rmsNormBackward({ ...args, dy: give(k, golden, 'up.y')! });
    return {
      'out.y': take(k.rmsNorm(args)),
      'grad.x': take(dx),
      ...(dweight && { 'grad.weight': take(dweight) }),
    };
  },

  layer_norm: (k, golden) => {
    const args = {
      x: give(k, golden, 'in.x')!,
      weight: give(k, golden, 'in.weight'),
      bias: give(k, golden, 'in.bias'),
      eps: golden.config.eps,
    };
    const { dx, dweight, dbias } = k.layerNormBackward({ ...args, dy: give(k, golden, 'up.y')! });
    return {
      'out.y': take(k.layerNorm(args)),
      'grad.x': take(dx),
      ...(dweight && { 'grad.weight': take(dweight) }),
      ...(dbias && { 'grad.bias': take(dbias) }),
    };
  },

  gated_rms_norm: (k, golden) => {
    const { eps, group_size, norm_before_gate } = golden.config;
    const x = give(k, golden, 'in.x')!;
    const args = {
      x,
      z: give(k, golden, 'in.z')!,
      weight: give(k, golden, 'in.weight'),
      eps,
      groups: group_size ? x.shape.at(-1)! / group_size : 1,
      normBeforeGate: norm_before_gate,
    };
    const { dx, dz, dweight } = k.gatedRmsNormBackward({ ...args, dy: give(k, golden, 'up.y')! });
    return {
      'out.y': take(k.gatedRmsNorm(args)),
      'grad.x': take(dx),
      'grad.z': take(dz),
      ...(dweight && { 'grad.weight': take(dweight) }),
    };
  },
};
