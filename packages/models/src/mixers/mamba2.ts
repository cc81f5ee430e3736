/**
 * Mamba-2 (Dao & Gu 2024, arXiv:2405.21060): state space duality with one decay a head.
 *
 *   dModel  D of the model     dInner  E D     nHeads  H = dInner / headDim     headDim  P
 *   dState  N                  nGroups  G      x  the scan's input              z  its gate
 *   dt  step size a head       A, B, C  the state space                         D  skip
 */
import type { Tape } from '@freelunch/autograd';
import type { ResolvedMamba2 } from '@freelunch/config';
import type { Kernels } from '@freelunch/kernels';
import { convolve, convolveStep, outputDeviation, stepSizeBias } from './mamba.js';
import { keep, linear, linearStep, type Mixer, type MixerState } from './mixer.js';
import {
  type FloatTensor,
  type Initializer,
  ones,
  type ParameterList,
  type Scope,
  uniform,
  zeros,
} from './parameters.js';
import { ln } from '@freelunch/random';

/** ln of numbers spread evenly over [1, 16]. */
const logOfDecays: Initializer = (data, rng) => {
  for (let i = 0; i < data.length; i++) data[i] = ln(1 + 15 * rng.float());
};

export function mamba2(config: ResolvedMamba2, dModel: number, branches: number, eps: number): Mixer {
  const { dState, dConv, dInner, headDim, nGroups, bias, convBias, chunkSize, normBeforeGate, dtLimit } =
    config;
  const nHeads = dInner / headDim;
  const dGroups = nGroups * dState; // width of B, and of C
  const dMixed = dInner + 2 * dGroups; // channels of the convolution: x, B and C

  return {
    declare(list: ParameterList, prefix: string) {
      list.other(`${prefix}dt_bias`, [nHeads], stepSizeBias);
      list.other(`${prefix}A_log`, [nHeads], logOfDecays);
      list.other(`${prefix}D`, [nHeads], ones);
      list.weight(
        `${prefix}in_proj.weight`,
        [dInner + dMixed + nHeads, dModel],
        uniform(1 / Math.sqrt(dModel)),
      );
      if (bias) list.other(`${prefix}in_proj.bias`, [dInner + dMixed + nHeads], zeros);
      if (dConv > 0) {
        list.weight(`${prefix}conv1d.weight`, [dMixed, 1, dConv], uniform(1 / Math.sqrt(dConv)));
        if (convBias) list.other(`${prefix}conv1d.bias`, [dMixed], uniform(1 / Math.sqrt(dConv)));
      }
      list.other(`${prefix}norm.weight`, [dInner], ones);
      list.weight(`${prefix}out_proj.weight`, [dModel, dInner], outputDeviation(dInner, branches));
      if (bias) list.other(`${prefix}out_proj.bias`, [dModel], zeros);
    },

    forward(t: Tape, p: Scope, input: FloatTensor, state?: MixerState): FloatTensor {
      const [batch, seqLen] = input.shape;
      const [z, mixed, dt] = t.split({ x: linear(t, p, 'in_proj', input), sizes: [dInner, dMixed, nHeads] });
      const [x, B, C] = t.split({
        x: convolve(t, p, mixed, dMixed, dConv, state),
        sizes: [dInner, dGroups, dGroups],
      });
      const { y, lastState } = t.ssd({
        x: t.reshape(x, [batch, seqLen, nHeads, headDim]),
        dt,
        A: t.negate({ x: t.exp({ x: p.get('A_log') }) }), // negative, so the state decays
        B: t.reshape(B, [batch, seqLen, nGroups, dState]),
        C: t.reshape(C, [batch, seqLen, nGroups, dState]),
        D: p.get('D'),
        dtBias: p.get('dt_bias'),
        dtSoftplus: true,
        dtLimit,
        chunkSize,
        initialState: state?.tensors.scan,
      });
      if (state !== undefined) keep(state, 'scan', lastState);
      const weight = p.get('norm.weight');
      const normed = t.gatedRmsNorm({
        x: t.reshape(y, [batch, seqLen, dInner]),
        z,
        weight,
        eps,
        groups: nGroups,
        normBeforeGate,
      });
      return linear(t, p, 'out_proj', normed);
    },

    initialState(k: Kernels, batch: number): MixerState {
      const scan = k.zeros([batch, nHeads, headDim, dState]);
      const tensors: MixerState['tensors'] =
        dConv > 1 ? { conv: k.zeros([batch, dConv - 1, dMixed]), scan } : { scan };
      return { tensors, position: 0 };
    },

    step(k: Kernels, p: Scope, input: FloatTensor, state: MixerState): FloatTensor {
      const [batch] = input.shape;
      const [z, mixed, dt] = k.split({
        x: linearStep(k, p, 'in_proj', input),
        sizes: [dInner, dMixed, nHeads],
      });
      const [x, B, C] = k.split({
        x: convolveStep(k, p, mixed, dMixed, dConv, state),
        sizes: [dInner, dGroups, dGroups],
      });
      const y = k.ssdStep({
        state: state.tensors.scan,
        x: x.reshape([batch, nHeads, headDim]),
        dt,
        A: k.negate({ x: k.exp({ x: p.get('A_log') }) }),
        B: B.reshape([batch, nGroups, dState]),
        C: C.reshape([batch, nGroups, dState]),
        D: p.get('D'),
        dtBias: p.get('dt_bias'),
        dtSoftplus: true,
        dtLimit,
      });
      const weight = p.get('norm.weight');
      return linearStep(
        k,
        p,
        'out_proj',
        k.gatedRmsNorm({ x: y.reshape([batch, dInner]), z, weight, eps, groups: nGroups, normBeforeGate }),
      );
    },

    stateBytes: () => 4 * (nHeads * headDim * dState + Math.max(dConv - 1, 0) * dMixed),
  };
}
