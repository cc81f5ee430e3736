import { give, type GoldenCase, type GoldenRunner, take } from './golden.ts';

const swapped = [0, 2, 1]; // (batch, channels, steps) and [batch, steps, channels]

const activationOf = ({ config }: GoldenCase): 'silu' | 'none' =>
  (config.activation as string | null) === 'silu' ? 'silu' : 'none';

export const causalConv1dRunners: Record<string, GoldenRunner> = {
  causal_conv1d(k, golden) {
    const args = {
      x: give(k, golden, 'in.x', swapped)!,
      weight: give(k, golden, 'in.weight')!,
      bias: give(k, golden, 'in.bias'),
      activation: activationOf(golden),
      initialState: golden.config.width > 1 ? give(k, golden, 'in.initial_state', swapped) : undefined,
    };
    const { y, lastState } = k.causalConv1d(args);
    const results: Record<string, ArrayLike<number>> = {
      'out.out': take(y, swapped),
      'out.final_state': lastState === undefined ? [] : take(lastState, swapped), // none with width 1
    };
    const dy = give(k, golden, 'up.out', swapped);
    const dLastState = give(k, golden, 'up.final_state', swapped);
    if (dy === undefined && dLastState === undefined) return results;
    const { dx, dweight, dbias, dInitialState } = k.causalConv1dBackward({ ...args, dy, dLastState });
    results['grad.x'] = take(dx, swapped);
    results['grad.weight'] = take(dweight);
    if (dbias !== undefined) results['grad.bias'] = take(dbias);
    if (dInitialState !== undefined) results['grad.initial_state'] = take(dInitialState, swapped);
    return results;
  },

  // The golden state has a column more, the oldest: it meets no weight, and is shifted out by the step.
  causal_conv1d_step(k, golden) {
    const { shape, data } = golden.tensors['in.state'];
    const [batch, channels, width] = shape;
    const kept = new Float32Array(batch * (width - 1) * channels);
    for (let b = 0; b < batch; b++)
      for (let c = 0; c < channels; c++)
        for (let i = 1; i < width; i++)
          kept[(b * (width - 1) + i - 1) * channels + c] = data[(b * channels + c) * width + i];
    const state = width > 1 ? k.tensor(kept, [batch, width - 1, channels]) : undefined;
    const x = give(k, golden, 'in.x')!;
    const y = k.causalConv1dStep({
      state,
      x,
      weight: give(k, golden, 'in.weight')!,
      bias: give(k, golden, 'in.bias'),
      activation: activationOf(golden),
    });
    // Back to `width` columns: in front comes what was second, which is oldest in ours before the step.
    const out = new Float32Array(data.length);
    for (let b = 0; b < batch; b++) {
      for (let c = 0; c < channels; c++) {
        for (let i = 0; i < width; i++) {
          const row = (b * (width - 1) + i - 1) * channels + c;
          if (i > 0) out[(b * channels + c) * width + i] = state!.data[row];
          else out[(b * channels + c) * width] = width > 1 ? kept[row + channels] : x.data[b * channels + c];
        }
      }
    }
    return { 'out.out': take(y), 'out.state': out };
  },
};
