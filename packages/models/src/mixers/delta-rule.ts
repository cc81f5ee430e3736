/**
 * DeltaNet (Schlag et al. 2021, arXiv:2102.11174; Yang et al. 2024, arXiv:2406.06484) and its gated form
 * (arXiv:2412.06464): the state is corrected towards the new value, where linear attention only adds to it.
 *
 *   q, k, v  queries, keys, values of width headDim; q and k have length 1     beta  how far to correct, 0 to 1
 */
import type { ResolvedDeltaRule } from '@freelunch/config';
import { type Heads, projectedHeads } from './heads.js';
import { keep, linear, type Mixer } from './mixer.js';
import { leading, type Ops } from './ops.js';
import { type FloatTensor, type Scope, uniform } from './parameters.js';

/** What both ops take; the gated one also a decay. */
interface DeltaArgs {
  q: FloatTensor;
  k: FloatTensor;
  v: FloatTensor;
  beta: FloatTensor;
  l2Normalize: boolean;
  scale: number;
}

export function deltaRule(config: ResolvedDeltaRule, dModel: number, branches: number): Mixer {
  const { nHeads, headDim, gated } = config;
  const width = nHeads * headDim;
  const heads = projectedHeads(dModel, { ...config, valueDim: headDim }, branches);

  /** `[..., dModel]` to the same; `project` and `correct` mix positions. */
  function block(
    o: Ops,
    p: Scope,
    x: FloatTensor,
    project: () => Heads,
    correct: (args: DeltaArgs, decay: FloatTensor | undefined) => FloatTensor,
  ): FloatTensor {
    const axes = leading(x);
    const beta = o.sigmoid({ x: linear(o, p, 'b_proj', x) });
    const args = {
      ...project(),
      beta,
      l2Normalize: true,
      scale: 1 / Math.sqrt(headDim),
    };
    const decay = gated ? o.logSigmoid({ x: linear(o, p, 'g_proj', x) }) : undefined;
    return linear(o, p, 'o_proj', o.reshape(correct(args, decay), [...axes, width]));
  }

  return {
    declare(list, prefix) {
      heads.declare(list, prefix);
      list.weight(`${prefix}b_proj.weight`, [nHeads, dModel], uniform(1 / Math.sqrt(dModel)));
      if (!gated) return;
      list.weight(`${prefix}g_proj.weight`, [nHeads, dModel], uniform(1 / Math.sqrt(dModel)));
      list.other(`${prefix}g_proj.bias`, [nHeads], (data) => void data.fill(4)); // sigmoid(4) = 0.98: forgets little at first
    },

    forward(o, p, x, state) {
      const project = () => heads.forward(o, p, x, state);
      return block(o, p, x, project, (args, decay) => {
        const from = { ...args, initialState: state?.tensors.state };
        const { o: y, lastState } =
          decay === undefined ? o.deltaRule(from) : o.gatedDeltaRule({ ...from, decay });
        if (state !== undefined) keep(state, 'state', lastState);
        return y;
      });
    },

    initialState: (k, batch) => ({
      tensors: { state: k.zeros([batch, nHeads, headDim, headDim]), ...heads.initialState(k, batch) },
      position: 0,
    }),

    step(o, p, x, layer) {
      const { state } = layer.tensors;
      const project = () => heads.step(o, p, x, layer);
      return block(o, p, x, project, (args, decay) =>
        decay === undefined
          ? o.k.deltaRuleStep({ ...args, state })
          : o.k.gatedDeltaRuleStep({ ...args, state, decay }),
      );
    },

    stateBytes: () => 4 * nHeads * headDim * headDim + heads.stateBytes,
  };
}
