import type { Kernels } from '@freelunch/kernels';
import { keep, type MixerState } from './mixer.js';
import type { Ops } from './ops.js';
import { type FloatTensor, type ParameterList, type Scope, uniform } from './parameters.js';

/** The causal convolution of Mamba with SiLU, one filter per channel, or SiLU alone where `dConv` is 0. */
export function causalConv1d(channels: number, dConv: number, bias: boolean) {
  // The published weight is [channels, 1, width], as PyTorch's grouped convolution has it.
  const args = (o: Ops, p: Scope, x: FloatTensor) =>
    ({
      x,
      weight: o.reshape(p.get('conv1d.weight'), [channels, dConv]),
      bias: p.find('conv1d.bias'),
      activation: 'silu',
    }) as const;

  return {
    declare(list: ParameterList, prefix: string): void {
      if (dConv === 0) return;
      list.weight(`${prefix}conv1d.weight`, [channels, 1, dConv], uniform(1 / Math.sqrt(dConv)));
      if (bias) list.other(`${prefix}conv1d.bias`, [channels], uniform(1 / Math.sqrt(dConv)));
    },

    /** `[batch, seqLen, channels]` to the same. */
    forward(o: Ops, p: Scope, x: FloatTensor, state?: MixerState): FloatTensor {
      if (dConv === 0) return o.silu({ x });
      const initialState = state?.tensors.conv;
      const { y, lastState } = o.causalConv1d({ ...args(o, p, x), initialState });
      if (state !== undefined && initialState !== undefined && lastState !== undefined)
        keep(state, 'conv', lastState);
      return y;
    },

    /** `[batch, channels]` to the same. */
    step(o: Ops, p: Scope, x: FloatTensor, { tensors }: MixerState): FloatTensor {
      if (dConv === 0) return o.silu({ x });
      return o.k.causalConv1dStep({ ...args(o, p, x), state: tensors.conv });
    },

    /** Its part of a mixer's state, by name. */
    initialState: (k: Kernels, batch: number): MixerState['tensors'] =>
      dConv > 1 ? { conv: k.zeros([batch, dConv - 1, channels]) } : {},

    stateBytes: 4 * Math.max(dConv - 1, 0) * channels,
  };
}
