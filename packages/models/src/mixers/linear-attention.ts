/**
 * Linear attention (Katharopoulos et al. 2020, arXiv:2006.16236) with an optional forget factor: retention (Sun et
 * al. 2023, arXiv:2307.08621), one per head and token, or one per key channel and token (Yang et al. 2023,
 * arXiv:2312.06635).
 *
 *   q, k  queries and keys of width headDim, paper: D     v  values of width valueDim, paper: M
 *   decay, gate  natural logs of the forget factor
 */
import type { ResolvedLinearAttention } from '@freelunch/config';
import { ln } from '@freelunch/random';
import { outputDeviation } from './mamba.js';
import { keep, linear, type Mixer, type MixerState } from './mixer.js';
import { type Argument, leading, type Ops } from './ops.js';
import { type FloatTensor, type Initializer, type ParameterList, type Scope, uniform } from './parameters.js';

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
    list.matrix(`${prefix}${name}.weight`, [width, dModel], uniform(1 / Math.sqrt(dModel)));
  }
  list.matrix(`${prefix}o_proj.weight`, [dModel, dValues], outputDeviation(dValues, branches));
}

export function linearAttention(config: ResolvedLinearAttention, dModel: number, branches: number): Mixer {
  const { nHeads, headDim, valueDim, featureMap, normalize, forget } = config;
  const keyWidth = nHeads * headDim;
  const valueWidth = nHeads * valueDim;

  /** The natural log of the forget factor per head, if there is one. */
  function decayOf(o: Ops, p: Scope, x: FloatTensor): FloatTensor | undefined {
    if (forget === 'retention') return p.get('decay');
    return forget === 'token' ? o.logSigmoid({ x: linear(o, p, 'g_proj', x) }) : undefined;
  }

  /** `[..., dModel]` to the same; `attend` mixes positions. */
  function block(
    o: Ops,
    p: Scope,
    x: FloatTensor,
    attend: (args: Argument<'linearAttention'>) => FloatTensor,
  ): FloatTensor {
    const axes = leading(x);
    const heads = (name: string, width = headDim) =>
      o.reshape(linear(o, p, name, x), [...axes, nHeads, width]);
    const decay = decayOf(o, p, x);
    const gate = forget === 'channel' ? o.logSigmoid({ x: heads('g_proj') }) : undefined;
    const y = attend({
      q: heads('q_proj'),
      k: heads('k_proj'),
      v: heads('v_proj', valueDim),
      featureMap,
      normalize,
      scale: 1 / Math.sqrt(headDim),
      decay,
      gate,
    });
    return linear(o, p, 'o_proj', o.reshape(y, [...axes, valueWidth]));
  }

  return {
    declare(list, prefix) {
      declareHeads(list, prefix, dModel, keyWidth, valueWidth, branches);
      if (forget === 'retention') list.other(`${prefix}decay`, [nHeads], retentionDecays);
      if (forget === 'token' || forget === 'channel') {
        const gates = forget === 'token' ? nHeads : keyWidth;
        list.weight(`${prefix}g_proj.weight`, [gates, dModel], uniform(1 / Math.sqrt(dModel)));
        list.other(`${prefix}g_proj.bias`, [gates], openGate);
      }
    },

    forward(o, p, x, state) {
      return block(o, p, x, (args) => {
        const {
          o: y,
          lastState,
          lastNormalizer,
        } = o.linearAttention({
          ...args,
          initialState: state?.tensors.state,
          initialNormalizer: state?.tensors.normalizer,
        });
        if (state !== undefined) {
          keep(state, 'state', lastState);
          if (lastNormalizer !== undefined) keep(state, 'normalizer', lastNormalizer);
        }
        return y;
      });
    },

    initialState(k, batch) {
      const state = k.zeros([batch, nHeads, headDim, valueDim]);
      const tensors: MixerState['tensors'] = normalize
        ? { state, normalizer: k.zeros([batch, nHeads, headDim]) }
        : { state };
      return { tensors, position: 0 };
    },

    step(o, p, x, { tensors: { state, normalizer } }) {
      return block(o, p, x, (args) => o.k.linearAttentionStep({ ...args, state, normalizer }));
    },

    stateBytes: () => 4 * nHeads * headDim * (valueDim + (normalize ? 1 : 0)),
  };
}
