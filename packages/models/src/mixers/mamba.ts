/**
 * Mamba (Gu & Dao 2023, arXiv:2312.00752).
 *
 *   dModel  D of the model     dInner  E D, channels of the scan     dState  N
 *   dtRank  R                  u  the scan's input                   z  its gate
 *   delta   step size          A, B, C  the state space              D  skip
 */
import type { ResolvedMamba } from '@freelunch/config';
import { exp, ln } from '@freelunch/random';
import { causalConv1d } from './causal-conv1d.js';
import { keep, linear, type Mixer } from './mixer.js';
import { type Argument, decayRates, type Ops } from './ops.js';
import { type FloatTensor, type Initializer, ones, type Scope, uniform, zeros } from './parameters.js';

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
  const { dState, dConv, dInner, dtRank, bias, convBias, innerNorms, innerNormEps } = config;
  const conv = causalConv1d(dInner, dConv, convBias);

  const innerNorm = (o: Ops, p: Scope, name: string, x: FloatTensor): FloatTensor =>
    innerNorms === 'none' ? x : o.rmsNorm({ x, weight: p.find(`${name}.weight`), eps: innerNormEps });

  /** `[..., dModel]` to the same; `convolve` and `scan` mix positions. */
  function block(
    o: Ops,
    p: Scope,
    x: FloatTensor,
    convolve: (x: FloatTensor) => FloatTensor,
    scan: (args: Argument<'selectiveScan'>) => FloatTensor,
  ): FloatTensor {
    const [uIn, z] = o.split({ x: linear(o, p, 'in_proj', x), sizes: [dInner, dInner] });
    const u = convolve(uIn);
    // delta, B and C come from u: each token chooses what the state keeps.
    const selected = o.split({ x: linear(o, p, 'x_proj', u), sizes: [dtRank, dState, dState] });
    const [dt, B, C] = ['dt_norm', 'B_norm', 'C_norm'].map((name, i) => innerNorm(o, p, name, selected[i]));
    const delta = o.matmul({ a: dt, b: p.get('dt_proj.weight'), transposeB: true });
    const A = decayRates(o, p.get('A_log'));
    const deltaBias = p.get('dt_proj.bias'); // added in the scan, and only there
    const y = scan({ u, delta, A, B, C, D: p.get('D'), z, deltaBias, deltaSoftplus: true });
    return linear(o, p, 'out_proj', y);
  }

  return {
    declare(list, prefix) {
      list.other(`${prefix}A_log`, [dInner, dState], logOfStates(dState));
      list.other(`${prefix}D`, [dInner], ones);
      list.matrix(`${prefix}in_proj.weight`, [2 * dInner, dModel], uniform(1 / Math.sqrt(dModel)));
      if (bias) list.other(`${prefix}in_proj.bias`, [2 * dInner], zeros);
      conv.declare(list, prefix);
      list.matrix(`${prefix}x_proj.weight`, [dtRank + 2 * dState, dInner], uniform(1 / Math.sqrt(dInner)));
      if (innerNorms === 'weighted') {
        list.other(`${prefix}dt_norm.weight`, [dtRank], ones);
        list.other(`${prefix}B_norm.weight`, [dState], ones);
        list.other(`${prefix}C_norm.weight`, [dState], ones);
      }
      list.weight(`${prefix}dt_proj.weight`, [dInner, dtRank], uniform(1 / Math.sqrt(dtRank)));
      list.other(`${prefix}dt_proj.bias`, [dInner], stepSizeBias);
      list.matrix(`${prefix}out_proj.weight`, [dModel, dInner], outputDeviation(dInner, branches));
      if (bias) list.other(`${prefix}out_proj.bias`, [dModel], zeros);
    },

    forward(o, p, x, state) {
      const scan = (args: Argument<'selectiveScan'>) => {
        const { y, lastState } = o.selectiveScan({ ...args, initialState: state?.tensors.scan });
        if (state !== undefined) keep(state, 'scan', lastState);
        return y;
      };
      return block(o, p, x, (u) => conv.forward(o, p, u, state), scan);
    },

    initialState: (k, batch) => ({
      tensors: { ...conv.initialState(k, batch), scan: k.zeros([batch, dInner, dState]) },
      position: 0,
    }),

    step(o, p, x, state) {
      const scan = (args: Argument<'selectiveScan'>) =>
        o.k.selectiveScanStep({ ...args, state: state.tensors.scan });
      return block(o, p, x, (u) => conv.step(o, p, u, state), scan);
    },

    stateBytes: () => 4 * dInner * dState + conv.stateBytes,
  };
}
