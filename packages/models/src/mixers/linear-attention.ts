/**
 * Linear attention (Katharopoulos et al. 2020, arXiv:2006.16236) with an optional forget factor: retention (Sun et
 * al. 2023, arXiv:2307.08621), one a head and token, or one a key channel and token (Yang et al. 2023,
 * arXiv:2312.06635).
 *
 *   q, k  queries and keys of width headDim, paper: D     v  values of width valueDim, paper: M
 *   decay, gate  natural logs of the forget factor
 */
import type { Tape } from '@freelunch/autograd';
import type { ResolvedLinearAttention } from '@freelunch/config';
import type { Kernels } from '@freelunch/kernels';
import { outputDeviation } from './mamba.js';
import { keep, linear, linearStep, type Mixer, type MixerState } from './mixer.js';
import { type FloatTensor, type Initializer, type ParameterList, type Scope, uniform } from './parameters.js';
import { ln } from '@freelunch/random';

/** Retention forgets by 1 - 2^-(5 + h) a step, from quick heads to slow ones. */
const retentionDecays: Initializer = (data) => {
  for (let h = 0; h < data.length; h++) data[h] = ln(1 - 2 ** -(5 + h));
};

/** Large enough that a forget factor starts near 1: sigmoid(4) = 0.98. */
const openGate: Initializer = (data) => void data.fill(4);

/** The projections of a mixer with heads: declares q, k, v and the output. */
export function declareHeads(
  list: ParameterList,
  prefix: string,
  dModel: number,
  dKeys: number,
  dValues: number,
  branches: number,
): void {
  for (const [name, width] of [
    ['q_proj', dKeys],
    ['k_proj', dKeys],
    ['v_proj', dValues],
  ] as const) {
    list.weight(`${prefix}${name}.weight`, [width, dModel], uniform(1 / Math.sqrt(dModel)));
  }
  list.weight(`${prefix}o_proj.weight`, [dModel, dValues], outputDeviation(dValues, branches));
}

export function linearAttention(config: ResolvedLinearAttention, dModel: number, branches: number): Mixer {
  const { nHeads, headDim, valueDim, featureMap, normalize, forget } = config;
  const keyWidth = nHeads * headDim;
  const valueWidth = nHeads * valueDim;
  const options = { featureMap, normalize, scale: 1 / Math.sqrt(headDim) };

  return {
    declare(list: ParameterList, prefix: string) {
      declareHeads(list, prefix, dModel, keyWidth, valueWidth, branches);
      if (forget === 'retention') list.other(`${prefix}decay`, [nHeads], retentionDecays);
      if (forget === 'token' || forget === 'channel') {
        const gates = forget === 'token' ? nHeads : keyWidth;
        list.weight(`${prefix}g_proj.weight`, [gates, dModel], uniform(1 / Math.sqrt(dModel)));
        list.other(`${prefix}g_proj.bias`, [gates], openGate);
      }
    },

    forward(t: Tape, p: Scope, x: FloatTensor, state?: MixerState): FloatTensor {
      const [batch, seqLen] = x.shape;
      const heads = (name: string, width = headDim) =>
        t.reshape(linear(t, p, name, x), [batch, seqLen, nHeads, width]);
      const decay =
        forget === 'retention'
          ? p.get('decay')
          : forget === 'token'
            ? t.logSigmoid({ x: linear(t, p, 'g_proj', x) })
            : undefined;
      const gate = forget === 'channel' ? t.logSigmoid({ x: heads('g_proj') }) : undefined;
      const { o, lastState, lastNormalizer } = t.linearAttention({
        q: heads('q_proj'),
        k: heads('k_proj'),
        v: heads('v_proj', valueDim),
        ...options,
        decay,
        gate,
        initialState: state?.tensors.state,
        initialNormalizer: state?.tensors.normalizer,
      });
      if (state !== undefined) {
        keep(state, 'state', lastState);
        if (lastNormalizer !== undefined) keep(state, 'normalizer', lastNormalizer);
      }
      return linear(t, p, 'o_proj', t.reshape(o, [batch, seqLen, valueWidth]));
    },

    initialState(k: Kernels, batch: number): MixerState {
      const state = k.zeros([batch, nHeads, headDim, valueDim]);
      const tensors: MixerState['tensors'] = normalize
        ? { state, normalizer: k.zeros([batch, nHeads, headDim]) }
        : { state };
      return { tensors, position: 0 };
    },

    step(k: Kernels, p: Scope, x: FloatTensor, { tensors }: MixerState): FloatTensor {
      const [batch] = x.shape;
      const heads = (name: string, width = headDim) =>
        linearStep(k, p, name, x).reshape([batch, nHeads, width]);
      const decay =
        forget === 'retention'
          ? p.get('decay')
          : forget === 'token'
            ? k.logSigmoid({ x: linearStep(k, p, 'g_proj', x) })
            : undefined;
      const gate = forget === 'channel' ? k.logSigmoid({ x: heads('g_proj') }) : undefined;
      const { state, normalizer } = tensors;
      const o = k.linearAttentionStep({
        state,
        normalizer,
        q: heads('q_proj'),
        k: heads('k_proj'),
        v: heads('v_proj', valueDim),
        ...options,
        decay,
        gate,
      });
      return linearStep(k, p, 'o_proj', o.reshape([batch, valueWidth]));
    },

    stateBytes: () => 4 * nHeads * headDim * (valueDim + (normalize ? 1 : 0)),
  };
}
