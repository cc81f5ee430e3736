import type { Kernels } from '@freelunch/kernels';
import { keep, type MixerState } from './mixer.js';
import type { Ops } from './ops.js';
import { type FloatTensor, type ParameterList, type Scope, uniform } from './parameters.js';

interface ConvOptions {
  /** Of its parameters. */
  name?: string;
  /** Of its part of the state. */
  kept?: string;
  activation?: 'silu' | 'none';
}

/** The causal convolution of Mamba with SiLU, one filter per channel, or SiLU alone where `dConv` is 0. */
export function causalConv1d(
  channels: number,
  dConv: number,
  bias: boolean,
  { name = 'conv1d', kept = 'conv', activation = 'silu' }: ConvOptions = {},
) {
  // The published weight is [channels, 1, width], as PyTorch's grouped convolution has it.
  const args = (o: Ops, p: Scope, x: FloatTensor) =>
    ({
      x,
      weight: o.reshape(p.get(`${name}.weight`), [channels, dConv]),
      bias: p.find(`${name}.bias`),
      activation,
    }) as const;

  return {
    declare(list: ParameterList, prefix: string): void {
      if (dConv === 0) return;
      list.weight(`${prefix}${name}.weight`, [channels, 1, dConv], uniform(1 / Math.sqrt(dConv)));
      if (bias) list.other(`${prefix}${name}.bias`, [channels], uniform(1 / Math.sqrt(dConv)));
    },

    /** `[batch, seqLen, channels]` to the same. */
    forward(o: Ops, p: Scope, x: FloatTensor, state?: MixerState): FloatTensor {
      if (dConv === 0) return activation === 'silu' ? o.silu({ x }) : x;
      const initialState = state?.tensors[kept];
      const { y, lastState } = o.causalConv1d({ ...args(o, p, x), initialState });
      if (state !== undefined && initialState !== undefined && lastState !== undefined)
        keep(state, kept, lastState);
      return y;
    },

    /** `[batch, channels]` to the same. */
    step(o: Ops, p: Scope, x: FloatTensor, { tensors }: MixerState): FloatTensor {
      if (dConv === 0) return activation === 'silu' ? o.silu({ x }) : x;
      return o.k.causalConv1dStep({ ...args(o, p, x), state: tensors[kept] });
    },

    /** Its part of a mixer's state, by name. */
    initialState: (k: Kernels, batch: number): MixerState['tensors'] =>
      dConv > 1 ? { [kept]: k.zeros([batch, dConv - 1, channels]) } : {},

    stateBytes: 4 * Math.max(dConv - 1, 0) * channels,
  };
}
