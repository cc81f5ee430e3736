/**
 * Mamba (Gu & Dao 2023, arXiv:2312.00752).
 *
 *   dModel  D of the model     dInner  E D, channels of the scan     dState  N
 *   dtRank  R                  u  the scan's input                   z  its gate
 *   delta   step size          A, B, C  the state space              D  skip
 */
import type { Tape } from '@freelunch/autograd';
import type { ResolvedMamba } from '@freelunch/config';
import type { Kernels } from '@freelunch/kernels';
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
import { exp, ln } from '@freelunch/random';

/** ln(1..N) in every row: A starts as -1, -2 .. -N, the real part of S4D. */
const logOfStates =
  (dState: number): Initializer =>
  (data) => {
    for (let i = 0; i < data.length; i++) data[i] = ln((i % dState) + 1);
  };

/** The inverse softplus of step sizes that are spread evenly in their logarithm over [0.001, 0.1]. */
export const stepSizeBias: Initializer = (data, rng) => {
  for (let i = 0; i < data.length; i++) {
    const dt = Math.max(exp(ln(0.001) + rng.float() * (ln(0.1) - ln(0.001))), 1e-4);
    data[i] = dt + ln(1 - exp(-dt));
  }
};

/** Output projections shrink with the number of residual branches, as in GPT-2. */
export const outputDeviation = (fanIn: number, branches: number): Initializer =>
  uniform(1 / Math.sqrt(fanIn * branches));

export function mamba(config: ResolvedMamba, dModel: number, branches: number): Mixer {
  const { dState, dConv, dInner, dtRank, bias, convBias } = config;

  /** delta (before softplus), B and C from u: each token chooses what the state keeps. */
  const select = (parts: FloatTensor[], dtProj: (dt: FloatTensor) => FloatTensor) => ({
    delta: dtProj(parts[0]),
    B: parts[1],
    C: parts[2],
  });
  const widths = [dtRank, dState, dState];

  return {
    declare(list: ParameterList, prefix: string) {
      list.other(`${prefix}A_log`, [dInner, dState], logOfStates(dState));
      list.other(`${prefix}D`, [dInner], ones);
      list.weight(`${prefix}in_proj.weight`, [2 * dInner, dModel], uniform(1 / Math.sqrt(dModel)));
      if (bias) list.other(`${prefix}in_proj.bias`, [2 * dInner], zeros);
      if (dConv > 0) {
        list.weight(`${prefix}conv1d.weight`, [dInner, 1, dConv], uniform(1 / Math.sqrt(dConv)));
        if (convBias) list.other(`${prefix}conv1d.bias`, [dInner], uniform(1 / Math.sqrt(dConv)));
      }
      list.weight(`${prefix}x_proj.weight`, [dtRank + 2 * dState, dInner], uniform(1 / Math.sqrt(dInner)));
      list.weight(`${prefix}dt_proj.weight`, [dInner, dtRank], uniform(1 / Math.sqrt(dtRank)));
      list.other(`${prefix}dt_proj.bias`, [dInner], stepSizeBias);
      list.weight(`${prefix}out_proj.weight`, [dModel, dInner], outputDeviation(dInner, branches));
      if (bias) list.other(`${prefix}out_proj.bias`, [dModel], zeros);
    },

    forward(t: Tape, p: Scope, x: FloatTensor, state?: MixerState): FloatTensor {
      const [uIn, z] = t.split({ x: linear(t, p, 'in_proj', x), sizes: [dInner, dInner] });
      const u = convolve(t, p, uIn, dInner, dConv, state);
      const { delta, B, C } = select(t.split({ x: linear(t, p, 'x_proj', u), sizes: widths }), (dt) =>
        t.matmul({ a: dt, b: p.get('dt_proj.weight'), transposeB: true }),
      );
      const A = t.negate({ x: t.exp({ x: p.get('A_log') }) }); // negative, so the state decays
      const deltaBias = p.get('dt_proj.bias'); // added in the scan, and only there
      const initialState = state?.tensors.scan;
      const { y, lastState } = t.selectiveScan({
        u,
        delta,
        A,
        B,
        C,
        D: p.get('D'),
        z,
        deltaBias,
        deltaSoftplus: true,
        initialState,
      });
      if (state !== undefined) keep(state, 'scan', lastState);
      return linear(t, p, 'out_proj', y);
    },

    initialState(k: Kernels, batch: number): MixerState {
      const scan = k.zeros([batch, dInner, dState]);
      const tensors: MixerState['tensors'] =
        dConv > 1 ? { conv: k.zeros([batch, dConv - 1, dInner]), scan } : { scan };
      return { tensors, position: 0 };
    },

    step(k: Kernels, p: Scope, x: FloatTensor, state: MixerState): FloatTensor {
      const [uIn, z] = k.split({ x: linearStep(k, p, 'in_proj', x), sizes: [dInner, dInner] });
      const u = convolveStep(k, p, uIn, dInner, dConv, state);
      const { delta, B, C } = select(k.split({ x: linearStep(k, p, 'x_proj', u), sizes: widths }), (dt) =>
        k.matmul({ a: dt, b: p.get('dt_proj.weight'), transposeB: true }),
      );
      const A = k.negate({ x: k.exp({ x: p.get('A_log') }) });
      const deltaBias = p.get('dt_proj.bias');
      const y = k.selectiveScanStep({
        state: state.tensors.scan,
        u,
        delta,
        A,
        B,
        C,
        D: p.get('D'),
        z,
        deltaBias,
        deltaSoftplus: true,
      });
      return linearStep(k, p, 'out_proj', y);
    },

    stateBytes: () => 4 * dInner * (dState + Math.max(dConv - 1, 0)),
  };
}

/** The causal convolution with SiLU, or SiLU alone where `dConv` is 0. */
export function convolve(
  t: Tape,
  p: Scope,
  x: FloatTensor,
  channels: number,
  dConv: number,
  state?: MixerState,
): FloatTensor {
  if (dConv === 0) return t.silu({ x });
  // The published weight is [channels, 1, width], as PyTorch's grouped convolution has it.
  const weight = t.reshape(p.get('conv1d.weight'), [channels, dConv]);
  const { y, lastState } = t.causalConv1d({
    x,
    weight,
    bias: p.find('conv1d.bias'),
    activation: 'silu',
    initialState: state?.tensors.conv,
  });
  if (state?.tensors.conv !== undefined && lastState !== undefined) keep(state, 'conv', lastState);
  return y;
}

/** One step of the same. */
export function convolveStep(
  k: Kernels,
  p: Scope,
  x: FloatTensor,
  channels: number,
  dConv: number,
  state: MixerState,
): FloatTensor {
  if (dConv === 0) return k.silu({ x });
  const weight = p.get('conv1d.weight').reshape([channels, dConv]);
  return k.causalConv1dStep({
    state: state.tensors.conv,
    x,
    weight,
    bias: p.find('conv1d.bias'),
    activation: 'silu',
  });
}
