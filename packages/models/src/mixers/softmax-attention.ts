/**
 * Softmax attention (Vaswani et al. 2017, arXiv:1706.03762), causal, with a cache of keys and values for decoding.
 *
 *   q, k      queries and keys of width headDim, paper: d_k      v       values of width valueDim, paper: d_v
 *   nKvHeads  heads of keys and values, shared by groups of queries
 *   position  of a token in its sequence                         window  keys that a query sees, itself included
 */
import type { Tape } from '@freelunch/autograd';
import type { ResolvedPosition, ResolvedSoftmaxAttention } from '@freelunch/config';
import type { Kernels } from '@freelunch/kernels';
import { outputDeviation } from './mamba.js';
import { linear, linearStep, type Mixer, type MixerState } from './mixer.js';
import { type FloatTensor, normal, type ParameterList, type Scope, uniform, zeros } from './parameters.js';

const LEAST_CAPACITY = 64;

/** Entries that a cache has room for once it holds `length`: the next power of two, so that growing costs little in all. */
function roomFor(length: number): number {
  let capacity = LEAST_CAPACITY;
  while (capacity < length) capacity *= 2;
  return capacity;
}

/** @param fused one projection for q, k and v, stored `[in, out]`, as GPT-2 has it */
export function softmaxAttention(
  config: ResolvedSoftmaxAttention,
  dModel: number,
  branches: number,
  position: ResolvedPosition,
  fused: boolean,
): Mixer {
  const { nHeads, nKvHeads, headDim, valueDim, window, sparse, bias } = config;
  const qWidth = nHeads * headDim;
  const kWidth = nKvHeads * headDim;
  const vWidth = nKvHeads * valueDim;
  const oWidth = nHeads * valueDim;
  const out = fused ? 'c_proj' : 'o_proj';
  const rope = position.type === 'rope' ? position : undefined;
  // A window forgets: its cache has room for two windows, so that moving one to the front is rare. Block-sparse
  // patterns look far back and count from the first key: nothing is forgotten.
  const forgets = window !== undefined && sparse === undefined;
  const limit = forgets ? roomFor(2 * window) : Infinity;
  const inSight = forgets ? window - 1 : Infinity;
  const capacityAt = (length: number) => Math.min(roomFor(length), limit);

  const rotate = (t: { rope: Kernels['rope'] }, x: FloatTensor, offset: number): FloatTensor =>
    rope === undefined
      ? x
      : t.rope({ x, base: rope.base, rotaryDim: rope.rotaryDim, convention: rope.convention, offset });
  const slopes = (k: Kernels) => (position.type === 'alibi' ? k.alibiSlopes({ nHeads }) : undefined);
  const outputLinear = (t: { matmul: Kernels['matmul'] }, p: Scope, x: FloatTensor) =>
    t.matmul({ a: x, b: p.get(`${out}.weight`), transposeB: !fused, bias: p.find(`${out}.bias`) });

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
    declare(list: ParameterList, prefix: string) {
      if (fused) {
        list.weight(`${prefix}c_attn.weight`, [dModel, qWidth + kWidth + vWidth], normal(0.02));
        if (bias) list.other(`${prefix}c_attn.bias`, [qWidth + kWidth + vWidth], zeros);
        list.weight(`${prefix}c_proj.weight`, [oWidth, dModel], normal(0.02 / Math.sqrt(branches)));
        if (bias) list.other(`${prefix}c_proj.bias`, [dModel], zeros);
        return;
      }
      for (const [name, width] of [
        ['q_proj', qWidth],
        ['k_proj', kWidth],
        ['v_proj', vWidth],
      ] as const) {
        list.weight(`${prefix}${name}.weight`, [width, dModel], uniform(1 / Math.sqrt(dModel)));
        if (bias) list.other(`${prefix}${name}.bias`, [width], zeros);
      }
      list.weight(`${prefix}o_proj.weight`, [dModel, oWidth], outputDeviation(oWidth, branches));
      if (bias) list.other(`${prefix}o_proj.bias`, [dModel], zeros);
    },

    forward(t: Tape, p: Scope, x: FloatTensor, state?: MixerState): FloatTensor {
      const [batch, seqLen] = x.shape;
      const parts = fused
        ? t.split({
            x: t.matmul({ a: x, b: p.get('c_attn.weight'), bias: p.find('c_attn.bias') }),
            sizes: [qWidth, kWidth, vWidth],
          })
        : [linear(t, p, 'q_proj', x), linear(t, p, 'k_proj', x), linear(t, p, 'v_proj', x)];
      const first = state?.position ?? 0;
      const q = rotate(t, t.reshape(parts[0], [batch, seqLen, nHeads, headDim]), first);
      const k = rotate(t, t.reshape(parts[1], [batch, seqLen, nKvHeads, headDim]), first);
      const v = t.reshape(parts[2], [batch, seqLen, nKvHeads, valueDim]);
      const options = { causal: true, window, sparse, alibiSlopes: slopes(t.k) };
      if (state === undefined)
        return outputLinear(
          t,
          p,
          t.reshape(t.softmaxAttention({ q, k, v, ...options }).o, [batch, seqLen, oWidth]),
        );

      const held = makeRoom(t.k, state, seqLen);
      const capacity = state.tensors.k.shape[1];
      for (const [name, fresh, width] of [
        ['k', k, kWidth],
        ['v', v, vWidth],
      ] as const) {
        for (let b = 0; b < batch; b++) {
          const rows = fresh.data.subarray(b * seqLen * width, (b + 1) * seqLen * width);
          state.tensors[name].data.set(rows, (b * capacity + held) * width);
        }
      }
      state.held = held + seqLen;
      const { k: kCache, v: vCache } = state.tensors;
      const { o } = t.softmaxAttention({
        q,
        k: kCache,
        v: vCache,
        ...options,
        queryOffset: held,
        keyLengths: held + seqLen,
      });
      // Room beyond what single steps need, for a long piece at once, is given back.
      if (capacity > limit) resize(t.k, state, Math.min(state.held, inSight), limit);
      return outputLinear(t, p, t.reshape(o, [batch, seqLen, oWidth]));
    },

    initialState(k: Kernels, batch: number): MixerState {
      const cache = (width: number) => k.zeros([batch, capacityAt(0), nKvHeads, width]);
      return { tensors: { k: cache(headDim), v: cache(valueDim) }, position: 0, held: 0 };
    },

    step(k: Kernels, p: Scope, x: FloatTensor, state: MixerState): FloatTensor {
      const [batch] = x.shape;
      const parts = fused
        ? k.split({
            x: k.matmul({ a: x, b: p.get('c_attn.weight'), bias: p.find('c_attn.bias') }),
            sizes: [qWidth, kWidth, vWidth],
          })
        : [linearStep(k, p, 'q_proj', x), linearStep(k, p, 'k_proj', x), linearStep(k, p, 'v_proj', x)];
      const row = (part: FloatTensor, heads: number) =>
        rotate(k, part.reshape([batch, 1, heads, headDim]), state.position).reshape([batch, heads, headDim]);
      const length = makeRoom(k, state, 1);
      const o = k.softmaxAttentionStep({
        q: row(parts[0], nHeads),
        k: row(parts[1], nKvHeads),
        v: parts[2].reshape([batch, nKvHeads, valueDim]),
        kCache: state.tensors.k,
        vCache: state.tensors.v,
        length,
        window,
        sparse,
        alibiSlopes: slopes(k),
      });
      state.held = length + 1;
      return outputLinear(k, p, o.reshape([batch, oWidth]));
    },

    stateBytes: (seqLen) => 4 * capacityAt(seqLen) * (kWidth + vWidth),
  };
}
