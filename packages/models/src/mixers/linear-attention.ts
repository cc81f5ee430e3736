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
import { type Heads, projectedHeads } from './heads.js';
import { keep, linear, type Mixer, type MixerState } from './mixer.js';
import { type Argument, leading, type Ops } from './ops.js';
import { type FloatTensor, type Initializer, type Scope, uniform } from './parameters.js';

/** Retention forgets by 1 - 2^-(5 + h) a step, from quick heads to slow ones. */
const retentionDecays: Initializer = (data) => {
  for (let h = 0; h < data.length; h++) data[h] = ln(1 - 2 ** -(5 + h));
};

/** Large enough that a forget factor starts near 1: sigmoid(4) = 0.98. */
const openGate: Initializer = (data) => void data.fill(4);

export function linearAttention(config: ResolvedLinearAttention, dModel: number, branches: number): Mixer {
  const { nHeads, headDim, valueDim, featureMap, normalize, forget } = config;
  const keyWidth = nHeads * headDim;
  const valueWidth = nHeads * valueDim;
  const heads = projectedHeads(dModel, config, branches);

  /** The natural log of the forget factor per head, if there is one. */
  function decayOf(o: Ops, p: Scope, x: FloatTensor): FloatTensor | undefined {
    if (forget === 'retention') return p.get('decay');
    return forget === 'token' ? o.logSigmoid({ x: linear(o, p, 'g_proj', x) }) : undefined;
  }

  /** `[..., dModel]` to the same; `project` and `attend` mix positions. */
  function block(
    o: Ops,
    p: Scope,
    x: FloatTensor,
    project: () => Heads,
    attend: (args: Argument<'linearAttention'>) => FloatTensor,
  ): FloatTensor {
    const axes = leading(x);
    const decay = decayOf(o, p, x);
    const gates = () => o.reshape(linear(o, p, 'g_proj', x), [...axes, nHeads, headDim]);
    const gate = forget === 'channel' ? o.logSigmoid({ x: gates() }) : undefined;
    const y = attend({
      ...project(),
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
      heads.declare(list, prefix);
      if (forget === 'retention') list.other(`${prefix}decay`, [nHeads], retentionDecays);
      if (forget === 'token' || forget === 'channel') {
        const gates = forget === 'token' ? nHeads : keyWidth;
        list.weight(`${prefix}g_proj.weight`, [gates, dModel], uniform(1 / Math.sqrt(dModel)));
        list.other(`${prefix}g_proj.bias`, [gates], openGate);
      }
    },

    forward(o, p, x, state) {
      const project = () => heads.forward(o, p, x, state);
      return block(o, p, x, project, (args) => {
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
      const tensors: MixerState['tensors'] = { state, ...heads.initialState(k, batch) };
      if (normalize) tensors.normalizer = k.zeros([batch, nHeads, headDim]);
      return { tensors, position: 0 };
    },

    step(o, p, x, layer) {
      const { state, normalizer } = layer.tensors;
      const project = () => heads.step(o, p, x, layer);
      return block(o, p, x, project, (args) => o.k.linearAttentionStep({ ...args, state, normalizer }));
    },

    stateBytes: () => 4 * nHeads * headDim * (valueDim + (normalize ? 1 : 0)) + heads.stateBytes,
  };
}
