/**
 * Gated short convolution of LFM2 (Liquid AI 2025, arXiv:2511.23404).
 *
 *   b, c, x  thirds of one projection, each of width dModel
 *   y = out(c * conv(b * x)), the convolution of width dConv, one filter per channel, without activation
 */
import type { ResolvedShortConv } from '@freelunch/config';
import { causalConv1d } from './causal-conv1d.js';
import { outputDeviation } from './mamba.js';
import { linear, type Mixer } from './mixer.js';
import type { Ops } from './ops.js';
import { type FloatTensor, type Scope, uniform, zeros } from './parameters.js';

export function shortConv({ dConv, bias }: ResolvedShortConv, dModel: number, branches: number): Mixer {
  const conv = causalConv1d(dModel, dConv, bias, { activation: 'none' });

  /** `[..., dModel]` to the same; `convolve` mixes positions. */
  function block(
    o: Ops,
    p: Scope,
    input: FloatTensor,
    convolve: (x: FloatTensor) => FloatTensor,
  ): FloatTensor {
    const sizes = [dModel, dModel, dModel];
    const [b, c, x] = o.split({ x: linear(o, p, 'in_proj', input), sizes });
    const mixed = convolve(o.multiply({ a: b, b: x }));
    return linear(o, p, 'out_proj', o.multiply({ a: c, b: mixed }));
  }

  return {
    declare(list, prefix) {
      list.matrix(`${prefix}in_proj.weight`, [3 * dModel, dModel], uniform(1 / Math.sqrt(dModel)));
      if (bias) list.other(`${prefix}in_proj.bias`, [3 * dModel], zeros);
      conv.declare(list, prefix);
      list.matrix(`${prefix}out_proj.weight`, [dModel, dModel], outputDeviation(dModel, branches));
      if (bias) list.other(`${prefix}out_proj.bias`, [dModel], zeros);
    },
    forward: (o, p, x, state) => block(o, p, x, (u) => conv.forward(o, p, u, state)),
    initialState: (k, batch) => ({ tensors: conv.initialState(k, batch), position: 0 }),
    step: (o, p, x, state) => block(o, p, x, (u) => conv.step(o, p, u, state)),
    stateBytes: () => conv.stateBytes,
  };
}
