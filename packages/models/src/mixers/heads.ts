/**
 * Queries, keys and values of linear attention and the delta rule: three projections, with a short causal convolution and
 * SiLU behind each where `dConv` is not 0. One layer can then pair a key with the value that follows it (Yang et al.
 * 2024, arXiv:2406.06484, section 3.4).
 */
import type { Kernels } from '@freelunch/kernels';
import { causalConv1d } from './causal-conv1d.js';
import { outputDeviation } from './mamba.js';
import { linear, type MixerState } from './mixer.js';
import { leading, type Ops } from './ops.js';
import { type FloatTensor, type ParameterList, type Scope, uniform } from './parameters.js';

export interface Heads {
  q: FloatTensor;
  k: FloatTensor;
  v: FloatTensor;
}

/** @param sizes  widths of a head's queries and keys, and of its values */
export function projectedHeads(
  dModel: number,
  sizes: { nHeads: number; headDim: number; valueDim: number; dConv: number },
  branches: number,
) {
  const { nHeads, headDim, valueDim, dConv } = sizes;
  const parts = [
    { name: 'q', width: headDim },
    { name: 'k', width: headDim },
    { name: 'v', width: valueDim },
  ].map(({ name, width }) => ({
    name: `${name}_proj`,
    width,
    conv:
      dConv === 0
        ? undefined
        : causalConv1d(nHeads * width, dConv, false, { name: `${name}_conv1d`, kept: `${name}_conv` }),
  }));

  function project(
    o: Ops,
    p: Scope,
    x: FloatTensor,
    convolve: (conv: ReturnType<typeof causalConv1d>, x: FloatTensor) => FloatTensor,
  ): Heads {
    const axes = leading(x);
    const [q, k, v] = parts.map(({ name, width, conv }) => {
      const projected = linear(o, p, name, x);
      return o.reshape(conv === undefined ? projected : convolve(conv, projected), [...axes, nHeads, width]);
    });
    return { q, k, v };
  }

  return {
    declare(list: ParameterList, prefix: string): void {
      for (const { name, width, conv } of parts) {
        list.matrix(`${prefix}${name}.weight`, [nHeads * width, dModel], uniform(1 / Math.sqrt(dModel)));
        conv?.declare(list, prefix);
      }
      const dValues = nHeads * valueDim;
      list.matrix(`${prefix}o_proj.weight`, [dModel, dValues], outputDeviation(dValues, branches));
    },

    /** Of a sequence, `[batch, seqLen, nHeads, width]` each. */
    forward: (o: Ops, p: Scope, x: FloatTensor, state?: MixerState): Heads =>
      project(o, p, x, (conv, u) => conv.forward(o, p, u, state)),

    /** Of a step, `[batch, nHeads, width]` each. */
    step: (o: Ops, p: Scope, x: FloatTensor, state: MixerState): Heads =>
      project(o, p, x, (conv, u) => conv.step(o, p, u, state)),

    initialState: (k: Kernels, batch: number): MixerState['tensors'] =>
      Object.assign({}, ...parts.map(({ conv }) => conv?.initialState(k, batch))) as MixerState['tensors'],

    stateBytes: parts.reduce((bytes, { conv }) => bytes + (conv?.stateBytes ?? 0), 0),
  };
}
