/**
 * Gated DeltaNet (Yang et al. 2024, arXiv:2412.06464) as Qwen3-Next has it.
 *
 *   q, k  queries and keys of width headDim, nKeyHeads of them, made of length 1
 *   v, z  values and their gate of width valueDim, nValueHeads of them: neighbours share a key
 *   beta  how far to correct, 0 to 1        decay  -exp(A_log) softplus(a + dt_bias), as in Mamba-2
 */
import type { ResolvedGatedDeltaNet } from '@freelunch/config';
import type { Kernels } from '@freelunch/kernels';
import { causalConv1d } from './causal-conv1d.js';
import { outputDeviation, stepSizeBias } from './mamba.js';
import { logOfDecays } from './mamba2.js';
import { keep, linear, type Mixer, type MixerState } from './mixer.js';
import { decayRates, leading, type Ops, repeatHeads, scaleColumns } from './ops.js';
import { type FloatTensor, ones, type Scope, uniform } from './parameters.js';

/** Added to the sum of squares by which queries and keys are made of length 1. */
const L2_EPS = 1e-6;

export function gatedDeltaNet(config: ResolvedGatedDeltaNet, dModel: number, branches: number): Mixer {
  const { nKeyHeads, nValueHeads, headDim, valueDim, dConv, normEps } = config;
  const dValues = nValueHeads * valueDim;
  const parts = [
    { name: 'q', nHeads: nKeyHeads, dim: headDim },
    { name: 'k', nHeads: nKeyHeads, dim: headDim },
    { name: 'v', nHeads: nValueHeads, dim: valueDim },
  ].map(({ name, nHeads, dim }) => ({
    name: `${name}_proj`,
    nHeads,
    dim,
    conv: causalConv1d(nHeads * dim, dConv, false, { name: `${name}_conv1d`, kept: `${name}_conv` }),
  }));
  type Convolution = (typeof parts)[number]['conv'];

  /** What the op takes, but for its state. */
  interface Args {
    q: FloatTensor;
    k: FloatTensor;
    v: FloatTensor;
    beta: FloatTensor;
    decay: FloatTensor;
    l2Normalize: true;
    eps: number;
    scale: number;
  }

  /** `[..., dModel]` to the same; `convolve` and `correct` mix positions. */
  function block(
    o: Ops,
    p: Scope,
    x: FloatTensor,
    convolve: (conv: Convolution, x: FloatTensor) => FloatTensor,
    correct: (args: Args) => FloatTensor,
  ): FloatTensor {
    const axes = leading(x);
    const [q, k, v] = parts.map(({ name, nHeads, dim, conv }) =>
      o.reshape(convolve(conv, linear(o, p, name, x)), [...axes, nHeads, dim]),
    );
    const heads = nValueHeads / nKeyHeads;
    const dt = o.matmul({ a: x, b: p.get('a_proj.weight'), transposeB: true, bias: p.get('dt_bias') });
    const y = correct({
      q: repeatHeads(o, q, heads),
      k: repeatHeads(o, k, heads),
      v,
      beta: o.sigmoid({ x: linear(o, p, 'b_proj', x) }),
      decay: scaleColumns(o, o.softplus({ x: dt }), decayRates(o, p.get('A_log'))),
      l2Normalize: true,
      eps: L2_EPS,
      scale: 1 / Math.sqrt(headDim),
    });
    const normed = o.gatedRmsNorm({
      x: y,
      z: o.reshape(linear(o, p, 'z_proj', x), y.shape),
      weight: p.get('norm.weight'),
      eps: normEps,
      normBeforeGate: true,
    });
    return linear(o, p, 'out_proj', o.reshape(normed, [...axes, dValues]));
  }

  return {
    declare(list, prefix) {
      const start = uniform(1 / Math.sqrt(dModel));
      list.other(`${prefix}dt_bias`, [nValueHeads], stepSizeBias);
      list.other(`${prefix}A_log`, [nValueHeads], logOfDecays);
      for (const { name, nHeads, dim } of parts)
        list.matrix(`${prefix}${name}.weight`, [nHeads * dim, dModel], start);
      list.matrix(`${prefix}z_proj.weight`, [dValues, dModel], start);
      list.weight(`${prefix}b_proj.weight`, [nValueHeads, dModel], start);
      list.weight(`${prefix}a_proj.weight`, [nValueHeads, dModel], start);
      for (const { conv } of parts) conv.declare(list, prefix);
      list.other(`${prefix}norm.weight`, [valueDim], ones);
      list.matrix(`${prefix}out_proj.weight`, [dModel, dValues], outputDeviation(dValues, branches));
    },

    forward(o, p, x, state) {
      const correct = (args: Args) => {
        const { o: y, lastState } = o.gatedDeltaRule({ ...args, initialState: state?.tensors.state });
        if (state !== undefined) keep(state, 'state', lastState);
        return y;
      };
      return block(o, p, x, (conv, u) => conv.forward(o, p, u, state), correct);
    },

    initialState: (k: Kernels, batch) => ({
      tensors: {
        state: k.zeros([batch, nValueHeads, headDim, valueDim]),
        ...(Object.assign(
          {},
          ...parts.map(({ conv }) => conv.initialState(k, batch)),
        ) as MixerState['tensors']),
      },
      position: 0,
    }),

    step: (o, p, x, state) =>
      block(
        o,
        p,
        x,
        (conv, u) => conv.step(o, p, u, state),
        (args) => o.k.gatedDeltaRuleStep({ ...args, state: state.tensors.state }),
      ),

    stateBytes: () =>
      4 * nValueHeads * headDim * valueDim + parts.reduce((bytes, { conv }) => bytes + conv.stateBytes, 0),
  };
}
