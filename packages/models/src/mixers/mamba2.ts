/**
 * Mamba-2 (Dao & Gu 2024, arXiv:2405.21060): state space duality with one decay per head.
 *
 *   dModel  D of the model     dInner  E D     nHeads  H = dInner / headDim     headDim  P
 *   dState  N                  nGroups  G      x  the scan's input              z  its gate
 *   dt  step size per head     A, B, C  the state space                         D  skip
 */
import type { ResolvedMamba2 } from '@freelunch/config';
import { ln } from '@freelunch/random';
import { causalConv1d } from './causal-conv1d.js';
import { outputDeviation, stepSizeBias } from './mamba.js';
import { keep, linear, type Mixer } from './mixer.js';
import { type Argument, decayRates, leading, type Ops } from './ops.js';
import { type FloatTensor, type Initializer, ones, type Scope, uniform, zeros } from './parameters.js';

/** ln of numbers spread evenly over [1, 16]. */
export const logOfDecays: Initializer = (data, rng) => {
  for (let i = 0; i < data.length; i++) data[i] = ln(1 + 15 * rng.float());
};

export function mamba2(config: ResolvedMamba2, dModel: number, branches: number): Mixer {
  const { dState, dConv, dInner, headDim, nGroups, bias, outBias, convBias, chunkSize, dtLimit } = config;
  const { gatedNorm, normBeforeGate, normGroups, normEps, multipliers } = config;
  const nHeads = dInner / headDim;
  const dGroups = nGroups * dState; // width of B, and of C
  const dMixed = dInner + 2 * dGroups; // channels of the convolution: x, B and C
  const conv = causalConv1d(dMixed, dConv, convBias);

  /** `[..., dModel]` to the same; `convolve` and `scan` mix positions. */
  function block(
    o: Ops,
    p: Scope,
    input: FloatTensor,
    convolve: (x: FloatTensor) => FloatTensor,
    scan: (args: Argument<'ssd'>) => FloatTensor,
  ): FloatTensor {
    const axes = leading(input);
    const projected = linear(o, p, 'in_proj', input);
    const parts = [dInner, dInner, dGroups, dGroups, nHeads];
    const [z, mixed, dt] = o.split({
      x: multipliers === undefined ? projected : o.scale({ x: projected, factor: multipliers, sizes: parts }),
      sizes: [dInner, dMixed, nHeads],
    });
    const [x, B, C] = o.split({ x: convolve(mixed), sizes: [dInner, dGroups, dGroups] });
    const y = scan({
      x: o.reshape(x, [...axes, nHeads, headDim]),
      dt,
      A: decayRates(o, p.get('A_log')),
      B: o.reshape(B, [...axes, nGroups, dState]),
      C: o.reshape(C, [...axes, nGroups, dState]),
      D: p.get('D'),
      dtBias: p.get('dt_bias'),
      dtSoftplus: true,
      dtLimit,
    });
    return linear(o, p, 'out_proj', gate(o, p, o.reshape(y, [...axes, dInner]), z));
  }

  /** The norm and the gate of what the scan gives. */
  const gate = (o: Ops, p: Scope, x: FloatTensor, z: FloatTensor): FloatTensor =>
    gatedNorm
      ? o.gatedRmsNorm({
          x,
          z,
          weight: p.get('norm.weight'),
          eps: normEps,
          groups: normGroups,
          normBeforeGate,
        })
      : o.multiply({ a: x, b: o.silu({ x: z }) });

  return {
    declare(list, prefix) {
      list.other(`${prefix}dt_bias`, [nHeads], stepSizeBias);
      list.other(`${prefix}A_log`, [nHeads], logOfDecays);
      list.other(`${prefix}D`, [nHeads], ones);
      const projected = dInner + dMixed + nHeads;
      list.matrix(`${prefix}in_proj.weight`, [projected, dModel], uniform(1 / Math.sqrt(dModel)));
      if (bias) list.other(`${prefix}in_proj.bias`, [projected], zeros);
      conv.declare(list, prefix);
      if (gatedNorm) list.other(`${prefix}norm.weight`, [dInner], ones);
      list.matrix(`${prefix}out_proj.weight`, [dModel, dInner], outputDeviation(dInner, branches));
      if (outBias) list.other(`${prefix}out_proj.bias`, [dModel], zeros);
    },

    forward(o, p, x, state) {
      const scan = (args: Argument<'ssd'>) => {
        const { y, lastState } = o.ssd({ ...args, chunkSize, initialState: state?.tensors.scan });
        if (state !== undefined) keep(state, 'scan', lastState);
        return y;
      };
      return block(o, p, x, (mixed) => conv.forward(o, p, mixed, state), scan);
    },

    initialState: (k, batch) => ({
      tensors: { ...conv.initialState(k, batch), scan: k.zeros([batch, nHeads, headDim, dState]) },
      position: 0,
    }),

    step(o, p, x, state) {
      const scan = (args: Argument<'ssd'>) => o.k.ssdStep({ ...args, state: state.tensors.scan });
      return block(o, p, x, (mixed) => conv.step(o, p, mixed, state), scan);
    },

    stateBytes: () => 4 * nHeads * headDim * dState + conv.stateBytes,
  };
}
