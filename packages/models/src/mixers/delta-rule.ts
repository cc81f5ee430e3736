/**
 * DeltaNet (Schlag et al. 2021, arXiv:2102.11174; Yang et al. 2024, arXiv:2406.06484) and its gated form
 * (arXiv:2412.06464): the state is corrected towards the new value, where linear attention only adds to it.
 *
 *   q, k, v  queries, keys, values of width headDim; q and k have length 1     beta  how far to correct, 0 to 1
 */
import type { Tape } from '@freelunch/autograd';
import type { ResolvedDeltaRule } from '@freelunch/config';
import type { Kernels } from '@freelunch/kernels';
import { declareHeads } from './linear-attention.js';
import { keep, linear, linearStep, type Mixer, type MixerState } from './mixer.js';
import { type FloatTensor, type ParameterList, type Scope, uniform } from './parameters.js';

export function deltaRule(config: ResolvedDeltaRule, dModel: number, branches: number): Mixer {
  const { nHeads, headDim, gated } = config;
  const width = nHeads * headDim;
  const options = { l2Normalize: true, scale: 1 / Math.sqrt(headDim) };

  return {
    declare(list: ParameterList, prefix: string) {
      declareHeads(list, prefix, dModel, width, width, branches);
      list.weight(`${prefix}b_proj.weight`, [nHeads, dModel], uniform(1 / Math.sqrt(dModel)));
      if (!gated) return;
      list.weight(`${prefix}g_proj.weight`, [nHeads, dModel], uniform(1 / Math.sqrt(dModel)));
      list.other(`${prefix}g_proj.bias`, [nHeads], (data) => void data.fill(4)); // sigmoid(4) = 0.98: forgets little at first
    },

    forward(t: Tape, p: Scope, x: FloatTensor, state?: MixerState): FloatTensor {
      const [batch, seqLen] = x.shape;
      const heads = (name: string) => t.reshape(linear(t, p, name, x), [batch, seqLen, nHeads, headDim]);
      const beta = t.sigmoid({ x: linear(t, p, 'b_proj', x) });
      const args = {
        q: heads('q_proj'),
        k: heads('k_proj'),
        v: heads('v_proj'),
        beta,
        initialState: state?.tensors.state,
        ...options,
      };
      const { o, lastState } = gated
        ? t.gatedDeltaRule({ ...args, decay: t.logSigmoid({ x: linear(t, p, 'g_proj', x) }) })
        : t.deltaRule(args);
      if (state !== undefined) keep(state, 'state', lastState);
      return linear(t, p, 'o_proj', t.reshape(o, [batch, seqLen, width]));
    },

    initialState: (k: Kernels, batch: number) => ({
      tensors: { state: k.zeros([batch, nHeads, headDim, headDim]) },
      position: 0,
    }),

    step(k: Kernels, p: Scope, x: FloatTensor, { tensors }: MixerState): FloatTensor {
      const [batch] = x.shape;
      const heads = (name: string) => linearStep(k, p, name, x).reshape([batch, nHeads, headDim]);
      const beta = k.sigmoid({ x: linearStep(k, p, 'b_proj', x) });
      const args = {
        state: tensors.state,
        q: heads('q_proj'),
        k: heads('k_proj'),
        v: heads('v_proj'),
        beta,
        ...options,
      };
      const o = gated
        ? k.gatedDeltaRuleStep({ ...args, decay: k.logSigmoid({ x: linearStep(k, p, 'g_proj', x) }) })
        : k.deltaRuleStep(args);
      return linearStep(k, p, 'o_proj', o.reshape([batch, width]));
    },

    stateBytes: () => 4 * nHeads * headDim * headDim,
  };
}
