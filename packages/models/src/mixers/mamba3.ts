/**
 * Mamba-3 (Lahoti et al. 2026, https://github.com/state-spaces/mamba): a state whose planes turn by angles that come from
 * the input, each input spread over two steps; with one input and output per step (SISO) or several (MIMO).
 *
 *   dModel  D of the model     dInner  E D     nHeads  H = dInner / headDim     headDim  P
 *   dState  N                  nGroups  G      nRanks  R, inputs per step       nAngles  S, planes that turn
 *   x  the input               z  its gate     dt  step size per head           A  decay, B, C  the state space
 *   trap  share of an input that enters at its own step     D  skip
 */
import type { ResolvedMamba3 } from '@freelunch/config';
import { outputDeviation, stepSizeBias } from './mamba.js';
import { keep, linear, type Mixer } from './mixer.js';
import { type Argument, leading, type Ops } from './ops.js';
import { constant, type FloatTensor, ones, type Scope, uniform } from './parameters.js';

/** @param nLayers of the model: output projections shrink with it */
export function mamba3(config: ResolvedMamba3, dModel: number, nLayers: number): Mixer {
  const { dState, dInner, headDim, nGroups, nAngles, mimo, nRanks, outputNorm } = config;
  const { aFloor, normEps, chunkSize } = config;
  const nHeads = dInner / headDim;
  const dGroups = nRanks * nGroups * dState; // width of B, and of C
  const sizes = [dInner, dInner, dGroups, dGroups, nHeads, nHeads, nHeads, nAngles];

  /** `[..., dModel]` to the same; `mix` mixes positions. */
  function block(
    o: Ops,
    p: Scope,
    input: FloatTensor,
    mix: (args: Argument<'mamba3'>) => FloatTensor,
  ): FloatTensor {
    const axes = leading(input);
    const heads = [...axes, nHeads, headDim];
    const parts = o.split({ x: linear(o, p, 'in_proj', input), sizes });
    const [z, x, B, C, dt, A, trap, angles] = parts;
    const normed = (name: string, part: FloatTensor) =>
      o.rmsNorm({
        x: o.reshape(part, [...axes, nRanks, nGroups, dState]),
        weight: p.get(`${name}.weight`),
        eps: normEps,
      });
    const y = mix({
      x: o.reshape(x, heads),
      dt,
      A,
      trap,
      B: normed('B_norm', B),
      C: normed('C_norm', C),
      angles: o.reshape(angles, [...axes, 1, nAngles]),
      BBias: p.get('B_bias'),
      CBias: p.get('C_bias'),
      D: p.get('D'),
      mimoX: p.find('mimo_x'),
      dtBias: p.get('dt_bias'),
      dtSoftplus: true,
      aFloor,
      convention: mimo ? 'half' : 'interleaved',
    });
    const gated = o.mamba3Gate({
      x: y,
      z: o.reshape(z, heads),
      weight: p.find('norm.weight'),
      eps: normEps,
      mimoZ: p.find('mimo_z'),
      mimoO: p.find('mimo_o'),
    });
    return linear(o, p, 'out_proj', o.reshape(gated, [...axes, dInner]));
  }

  return {
    declare(list, prefix) {
      list.other(`${prefix}dt_bias`, [nHeads], stepSizeBias);
      list.other(`${prefix}B_bias`, [nHeads, nRanks, dState], ones);
      list.other(`${prefix}C_bias`, [nHeads, nRanks, dState], ones);
      list.other(`${prefix}B_norm.weight`, [dState], ones);
      list.other(`${prefix}C_norm.weight`, [dState], ones);
      list.other(`${prefix}D`, [nHeads], ones);
      if (mimo) {
        list.weight(`${prefix}mimo_x`, [nHeads, nRanks, headDim], constant(1 / nRanks));
        list.weight(`${prefix}mimo_z`, [nHeads, nRanks, headDim], ones);
        list.weight(`${prefix}mimo_o`, [nHeads, nRanks, headDim], constant(1 / nRanks));
      }
      const projected = sizes.reduce((total, size) => total + size);
      list.matrix(`${prefix}in_proj.weight`, [projected, dModel], uniform(1 / Math.sqrt(dModel)));
      if (outputNorm) list.other(`${prefix}norm.weight`, [dInner], ones);
      list.matrix(`${prefix}out_proj.weight`, [dModel, dInner], outputDeviation(dInner, nLayers));
    },

    forward(o, p, x, state) {
      return block(o, p, x, (args) => {
        const { tensors } = state ?? {};
        const mixed = o.mamba3({
          ...args,
          chunkSize,
          initialAngle: tensors?.angle,
          initialState: tensors?.scan,
          initialB: tensors?.k,
          initialX: tensors?.v,
        });
        if (state !== undefined) {
          keep(state, 'angle', mixed.lastAngle);
          keep(state, 'scan', mixed.lastState);
          keep(state, 'k', mixed.lastB);
          keep(state, 'v', mixed.lastX);
        }
        return mixed.y;
      });
    },

    initialState: (k, batch) => ({
      tensors: {
        angle: k.zeros([batch, nHeads, nAngles]),
        scan: k.zeros([batch, nHeads, headDim, dState]),
        k: k.zeros([batch, nRanks, nHeads, dState]),
        v: k.zeros([batch, nHeads, headDim]),
      },
      position: 0,
    }),

    step: (o, p, x, { tensors: { angle, scan, k, v } }) =>
      block(o, p, x, (args) => o.k.mamba3Step({ ...args, angle, state: scan, lastB: k, lastX: v })),

    stateBytes: () => 4 * nHeads * (nAngles + headDim * dState + nRanks * dState + headDim),
  };
}
