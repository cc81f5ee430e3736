/**
 * A transformer block that several layers share, in front of their mixers (Zamba2, Zyphra 2024, arXiv:2411.15242).
 *
 *   x  the residual stream      e  embeddings of the tokens
 *   u = norm([x, e]);  a = attention(u);  g, p = halves of (gate_up + adapter)(norm(a))
 *   y = mixer(norm(x + linear(down(gelu(g) * p))))
 *
 * The linear layer is the layer's own, and so are the adapters, which add a product of two small matrices to projections.
 */
import type { ResolvedConfig, ResolvedSharedBlocks } from '@freelunch/config';
import { outputDeviation } from './mamba.js';
import { linear, type Mixer } from './mixer.js';
import { normWeight, type Ops } from './ops.js';
import { type FloatTensor, ones, type ParameterList, type Scope, uniform, zeros } from './parameters.js';
import { softmaxAttention } from './softmax-attention.js';

/** What a layer makes of a block. */
export interface Use {
  /** Its number among the layers that have a block in front. */
  index: number;
  /** Paths of the block's parameters, which all of its layers share, and of the layer's projection begin with these. */
  block: string;
  projection: string;
  /** Whether it is the first to use its block, and declares it. */
  first: boolean;
}

/** The uses of the blocks, by layer. */
export function usesOf({ layers, count }: ResolvedSharedBlocks): ReadonlyMap<number, Use> {
  return new Map(
    layers.map((layer, index) => [
      layer,
      {
        index,
        block: `layers.${layers[index % count]}.shared.`,
        projection: `layers.${layer}.shared_linear.`,
        first: index < count,
      },
    ]),
  );
}

/** Puts a use of a block in front of a mixer. */
export function afterSharedBlock(
  inner: Mixer,
  { index, block, projection, first }: Use,
  config: ResolvedConfig & { sharedBlocks: ResolvedSharedBlocks },
  branches: number,
): Mixer {
  const { dModel, norm, sharedBlocks } = config;
  const { dHidden, bias, adapterRank, attentionAdapters } = sharedBlocks;
  const ofAttention = ['q', 'k', 'v'] as const;

  const adapted = (o: Ops, p: Scope, name: string, x: FloatTensor, y: FloatTensor): FloatTensor => {
    const small = linear(o, p, `${name}.${index}.0`, x);
    return o.add({ a: y, b: linear(o, p, `${name}.${index}.1`, small) });
  };
  const attention = softmaxAttention(sharedBlocks.attention, config, branches, false, {
    inWidth: 2 * dModel,
    adapt: (o, p, part, x, y) =>
      attentionAdapters ? adapted(o, p, `${ofAttention[part]}_adapter`, x, y) : y,
  });

  function declareAdapter(list: ParameterList, prefix: string, from: number, to: number): void {
    list.matrix(`${prefix}.${index}.0.weight`, [adapterRank, from], uniform(1 / Math.sqrt(from)));
    list.matrix(`${prefix}.${index}.1.weight`, [to, adapterRank], uniform(1 / Math.sqrt(adapterRank)));
  }

  function declareBlock(list: ParameterList): void {
    const start = norm.zeroCentered ? zeros : ones;
    attention.declare(list, `${block}attention.`);
    list.matrix(`${block}mlp.gate_up_proj.weight`, [2 * dHidden, dModel], uniform(1 / Math.sqrt(dModel)));
    if (bias) list.other(`${block}mlp.gate_up_proj.bias`, [2 * dHidden], zeros);
    list.matrix(`${block}mlp.down_proj.weight`, [dModel, dHidden], outputDeviation(dHidden, branches));
    if (bias) list.other(`${block}mlp.down_proj.bias`, [dModel], zeros);
    list.other(`${block}mixer_norm.weight`, [2 * dModel], start);
    list.other(`${block}mlp_norm.weight`, [dModel], start);
  }

  const normed = (o: Ops, p: Scope, x: FloatTensor): FloatTensor =>
    o.rmsNorm({ x, weight: normWeight(o, p.get('weight'), norm.zeroCentered), eps: norm.eps });

  /** What is added to the mixer's input; `attend` mixes positions. */
  function lead(
    o: Ops,
    p: Scope,
    x: FloatTensor,
    embedded: FloatTensor,
    attend: (p: Scope, u: FloatTensor) => FloatTensor,
  ): FloatTensor {
    const shared = p.at(block);
    const mlp = shared.inside('mlp.');
    const u = normed(o, shared.inside('mixer_norm.'), o.concat({ parts: [x, embedded] }));
    const v = normed(o, shared.inside('mlp_norm.'), attend(shared.inside('attention.'), u));
    const hidden = adapted(o, mlp, 'adapter', v, linear(o, mlp, 'gate_up_proj', v));
    const [gate, up] = o.split({ x: hidden, sizes: [dHidden, dHidden] });
    const y = linear(o, mlp, 'down_proj', o.multiply({ a: o.gelu({ x: gate }), b: up }));
    return o.matmul({ a: y, b: p.at(projection).matrix('weight'), transposeB: true });
  }

  return {
    declare(list, prefix) {
      if (first) declareBlock(list);
      if (attentionAdapters) {
        const { nHeads, nKvHeads, headDim, valueDim } = sharedBlocks.attention;
        [nHeads * headDim, nKvHeads * headDim, nKvHeads * valueDim].forEach((width, part) =>
          declareAdapter(list, `${block}attention.${ofAttention[part]}_adapter`, 2 * dModel, width),
        );
      }
      declareAdapter(list, `${block}mlp.adapter`, dModel, 2 * dHidden);
      list.matrix(`${projection}weight`, [dModel, dModel], outputDeviation(dModel, branches));
      inner.declare(list, prefix);
    },

    lead: {
      forward: (o, p, x, embedded, state) =>
        lead(o, p, x, embedded, (scope, u) => attention.forward(o, scope, u, state)),
      step: (o, p, x, embedded, state, now) =>
        lead(o, p, x, embedded, (scope, u) => attention.step(o, scope, u, state, now)),
      parameters: [block],
    },

    forward: (o, p, x, state) => inner.forward(o, p, x, state),
    step: (o, p, x, state, now) => inner.step(o, p, x, state, now),

    initialState(k, batch) {
      const state = attention.initialState(k, batch);
      return { ...state, tensors: { ...inner.initialState(k, batch).tensors, ...state.tensors } };
    },

    makeRoom(k, state, added) {
      inner.makeRoom?.(k, state, added);
      attention.makeRoom?.(k, state, added);
    },

    stateBytes: (seqLen) => inner.stateBytes(seqLen) + attention.stateBytes(seqLen),
  };
}
