/**
 * Softmax attention (Vaswani et al. 2017, arXiv:1706.03762), causal, with a cache of keys and values for decoding.
 *
 *   q, k      queries and keys of width headDim, paper: d_k      v       values of width valueDim, paper: d_v
 *   nKvHeads  heads of keys and values, shared by groups of queries
 *   position  of a token in its sequence                         window  keys that a query sees, itself included
 *
 * Options, in the order of what is computed: a convolution of q, k and v; norms of each head's q and k; a constant that keys
 * are multiplied by; rotary positions; a gate of the output by the sigmoid of a projection.
 */
import type { ResolvedConfig, ResolvedSoftmaxAttention } from '@freelunch/config';
import type { Kernels, Tensor } from '@freelunch/kernels';
import { causalConv1d } from './causal-conv1d.js';
import { outputDeviation } from './mamba.js';
import { linear, type Mixer, type MixerState } from './mixer.js';
import { leading, normWeight, type Ops, scaled } from './ops.js';
import { type FloatTensor, normal, ones, type Scope, uniform, zeros } from './parameters.js';

const LEAST_CAPACITY = 64;

/** Entries that a cache has room for once it holds `length`: the next power of two, so that growing costs little in all. */
function roomFor(length: number): number {
  let capacity = LEAST_CAPACITY;
  while (capacity < length) capacity *= 2;
  return capacity;
}

/** Queries, keys and values, `[batch, seqLen, heads, width]`, with their positions in them. */
interface Heads {
  q: FloatTensor;
  k: FloatTensor;
  v: FloatTensor;
  alibiSlopes: FloatTensor | undefined;
}

/** Where a sequence starts, or which positions it has, in memory. */
type At = { offset: number } | { positions: Tensor<'int32'> };

type Convolution = ReturnType<typeof causalConv1d>;

/** What attention inside other blocks has that no config says. */
interface Surroundings {
  /** Width of the input; dModel if absent. */
  inWidth?: number;
  /** Changes `y`, the projection of `x` to queries (`part` 0), keys (1) or values (2). */
  adapt?: (o: Ops, p: Scope, part: number, x: FloatTensor, y: FloatTensor) => FloatTensor;
}

/** @param fused one projection for q, k and v, stored `[in, out]`, as GPT-2 has it */
export function softmaxAttention(
  config: ResolvedSoftmaxAttention,
  model: Pick<ResolvedConfig, 'dModel' | 'norm' | 'position'>,
  branches: number,
  fused: boolean,
  { inWidth = model.dModel, adapt = (_, __, ___, ____, y) => y }: Surroundings = {},
): Mixer {
  const { nHeads, nKvHeads, headDim, valueDim, window, sparse, bias, qkvBias, scale, dConv } = config;
  const { qkNorm, outputGate, keyMultiplier } = config;
  const { dModel, norm } = model;
  const qWidth = nHeads * headDim;
  const kWidth = nKvHeads * headDim;
  const vWidth = nKvHeads * valueDim;
  const oWidth = nHeads * valueDim;
  const out = fused ? 'c_proj' : 'o_proj';
  const convs = [
    { name: 'q', width: qWidth },
    { name: 'k', width: kWidth },
    { name: 'v', width: vWidth },
  ].map(({ name, width }) =>
    causalConv1d(width, dConv, true, { name: `${name}_conv1d`, kept: `${name}_conv`, activation: 'none' }),
  );
  const position = config.position ?? model.position;
  const rope = position.type === 'rope' ? position : undefined;
  // A window forgets: its cache has room for two windows, so that moving one to the front is rare. Block-sparse
  // patterns look far back and count from the first key: nothing is forgotten.
  const forgets = window !== undefined && sparse === undefined;
  const limit = forgets ? roomFor(2 * window) : Infinity;
  const inSight = forgets ? window - 1 : Infinity;
  const capacityAt = (length: number) => Math.min(roomFor(length), limit);

  function rotate(o: Ops, x: FloatTensor, at: At): FloatTensor {
    if (rope === undefined) return x;
    const { base, rotaryDim, convention, scaling } = rope;
    if (scaling?.type === 'longrope') throw new Error('longrope cannot be computed');
    return o.rope({ x, base, rotaryDim, convention, scaling, ...at });
  }

  const normed = (o: Ops, p: Scope, name: string, x: FloatTensor): FloatTensor =>
    qkNorm
      ? o.rmsNorm({ x, weight: normWeight(o, p.get(`${name}.weight`), norm.zeroCentered), eps: norm.eps })
      : x;

  const project = (o: Ops, p: Scope, x: FloatTensor): FloatTensor[] =>
    fused
      ? o.split({
          x: linear(o, p, 'c_attn', x, 'in-out'),
          sizes: [qWidth, kWidth, vWidth],
        })
      : ['q_proj', 'k_proj', 'v_proj'].map((name, part) => adapt(o, p, part, x, linear(o, p, name, x)));

  /** `[..., dModel]` to the same, at some positions; `convolve` and `attend` mix them. */
  function block(
    o: Ops,
    p: Scope,
    x: FloatTensor,
    at: At,
    convolve: (conv: Convolution, x: FloatTensor) => FloatTensor,
    attend: (heads: Heads) => FloatTensor,
  ) {
    const axes = leading(x);
    const [batch, seqLen = 1] = axes; // a step is a sequence of one
    const [qPart, kPart, vPart] = project(o, p, x).map((part, i) => convolve(convs[i], part));
    const q = normed(o, p, 'q_norm', o.reshape(qPart, [batch, seqLen, nHeads, headDim]));
    const k = normed(o, p, 'k_norm', o.reshape(kPart, [batch, seqLen, nKvHeads, headDim]));
    const y = attend({
      q: rotate(o, q, at),
      k: rotate(o, scaled(o, k, keyMultiplier), at),
      v: o.reshape(vPart, [batch, seqLen, nKvHeads, valueDim]),
      alibiSlopes: position.type === 'alibi' ? o.k.alibiSlopes({ nHeads }) : undefined,
    });
    const a = o.reshape(y, [...axes, oWidth]);
    const gated = outputGate ? o.multiply({ a, b: o.sigmoid({ x: linear(o, p, 'gate_proj', x) }) }) : a;
    return linear(o, p, out, gated, fused ? 'in-out' : 'out-in');
  }

  /** Moves the last `kept` entries to the front of caches of this capacity. */
  function resize(k: Kernels, state: MixerState, kept: number, capacity: number): void {
    const [batch, before] = state.tensors.k.shape;
    const held = state.held!;
    const grown = (old: FloatTensor, dim: number) =>
      capacity === before ? old : k.zeros([batch, capacity, nKvHeads, dim]);
    // The state outlives the scope that this step runs in. Both or none: one cache of another size would be of no use.
    const nexts = k.alongside(state.tensors.k, () => ({
      k: grown(state.tensors.k, headDim),
      v: grown(state.tensors.v, valueDim),
    }));
    for (const [name, dim] of [
      ['k', headDim],
      ['v', valueDim],
    ] as const) {
      const old = state.tensors[name];
      const next = nexts[name];
      const width = nKvHeads * dim;
      for (let b = 0; b < batch; b++) {
        const from = (b * before + held - kept) * width;
        next.data.set(old.data.subarray(from, from + kept * width), b * capacity * width);
      }
      if (next !== old) old.dispose();
      state.tensors[name] = next;
    }
    state.held = kept;
  }

  /** Makes room for `added` more entries, forgetting what no window sees any more. @returns entries now held */
  function makeRoom(k: Kernels, state: MixerState, added: number): number {
    const held = state.held!;
    const capacity = state.tensors.k.shape[1];
    if (held + added <= capacity) return held;
    const kept = held + added <= limit ? held : Math.min(held, inSight);
    resize(k, state, kept, Math.max(capacity, roomFor(kept + added)));
    return kept;
  }

  return {
    declare(list, prefix) {
      for (const conv of convs) conv.declare(list, prefix);
      if (fused) {
        list.matrix(`${prefix}c_attn.weight`, [dModel, qWidth + kWidth + vWidth], normal(0.02), 'in-out');
        if (qkvBias) list.other(`${prefix}c_attn.bias`, [qWidth + kWidth + vWidth], zeros);
        list.matrix(`${prefix}c_proj.weight`, [oWidth, dModel], normal(0.02 / Math.sqrt(branches)), 'in-out');
        if (bias) list.other(`${prefix}c_proj.bias`, [dModel], zeros);
        return;
      }
      for (const [name, width] of [
        ['q_proj', qWidth],
        ['k_proj', kWidth],
        ['v_proj', vWidth],
        ...(outputGate ? ([['gate_proj', oWidth]] as const) : []),
      ] as const) {
        list.matrix(`${prefix}${name}.weight`, [width, inWidth], uniform(1 / Math.sqrt(inWidth)));
        if (qkvBias) list.other(`${prefix}${name}.bias`, [width], zeros);
      }
      if (qkNorm) {
        const start = norm.zeroCentered ? zeros : ones;
        list.other(`${prefix}q_norm.weight`, [headDim], start);
        list.other(`${prefix}k_norm.weight`, [headDim], start);
      }
      list.matrix(`${prefix}o_proj.weight`, [dModel, oWidth], outputDeviation(oWidth, branches));
      if (bias) list.other(`${prefix}o_proj.bias`, [dModel], zeros);
    },

    forward(o, p, x, state) {
      const options = { causal: true, window, sparse, scale };
      const at = { offset: state?.position ?? 0 };
      const convolve = (conv: Convolution, part: FloatTensor) => conv.forward(o, p, part, state);
      return block(o, p, x, at, convolve, ({ q, k, v, alibiSlopes }) => {
        if (state === undefined) return o.softmaxAttention({ q, k, v, ...options, alibiSlopes }).o;
        const [batch, seqLen] = q.shape;
        const held = makeRoom(o.k, state, seqLen);
        const { k: kCache, v: vCache } = state.tensors;
        const capacity = kCache.shape[1];
        for (const [cache, fresh, width] of [
          [kCache, k, kWidth],
          [vCache, v, vWidth],
        ] as const) {
          for (let b = 0; b < batch; b++) {
            const rows = fresh.data.subarray(b * seqLen * width, (b + 1) * seqLen * width);
            cache.data.set(rows, (b * capacity + held) * width);
          }
        }
        state.held = held + seqLen;
        const { o: y } = o.softmaxAttention({
          q,
          k: kCache,
          v: vCache,
          ...options,
          alibiSlopes,
          queryOffset: held,
          keyLengths: held + seqLen,
        });
        // Room beyond what single steps need, for a long piece at once, is given back.
        if (capacity > limit) resize(o.k, state, Math.min(state.held, inSight), limit);
        return y;
      });
    },

    initialState(k: Kernels, batch: number): MixerState {
      const cache = (width: number) => k.zeros([batch, capacityAt(0), nKvHeads, width]);
      const kept = convs.map((conv) => conv.initialState(k, batch));
      const tensors = Object.assign(
        { k: cache(headDim), v: cache(valueDim) },
        ...kept,
      ) as MixerState['tensors'];
      return { tensors, position: 0, held: 0 };
    },

    makeRoom: (k, state, added) => void makeRoom(k, state, added),

    step(o, p, x, state, { position, held }) {
      const { k: kCache, v: vCache } = state.tensors;
      const convolve = (conv: Convolution, part: FloatTensor) => conv.step(o, p, part, state);
      return block(o, p, x, { positions: position }, convolve, ({ q, k, v, alibiSlopes }) => {
        const [batch] = x.shape;
        return o.k.softmaxAttentionStep({
          q: q.reshape([batch, nHeads, headDim]),
          k: k.reshape([batch, nKvHeads, headDim]),
          v: v.reshape([batch, nKvHeads, valueDim]),
          kCache,
          vCache,
          length: held!,
          window,
          sparse,
          scale,
          alibiSlopes,
        });
      });
    },

    stateBytes: (seqLen) =>
      4 * capacityAt(seqLen) * (kWidth + vWidth) + convs.reduce((sum, conv) => sum + conv.stateBytes, 0),
  };
}
