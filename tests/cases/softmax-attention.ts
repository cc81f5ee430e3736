import type { Random } from '@freelunch/random';
import { type Case, type HostArgs, normal, type Size, uniform } from './case.ts';

/** q, k, v of a size; kLen, nKvHeads and valueDim as qLen, nHeads and headDim where absent. */
function qkv(size: Size, rng: Random, scale = 1): HostArgs {
  const { batch = 1, qLen, kLen = qLen, nHeads = 1, nKvHeads = nHeads, headDim, valueDim = headDim } = size;
  const [b, t, s, h, g, d, e] = [batch, qLen, kLen, nHeads, nKvHeads, headDim, valueDim].map(Number);
  return {
    q: normal(rng, [b, t, h, d], scale),
    k: normal(rng, [b, s, g, d], scale),
    v: normal(rng, [b, s, g, e]),
  };
}

const backward = { tolerance: 2e-5, inputs: ['q', 'k', 'v'], outputs: ['o', 'logSumExp'] };
const op = 'softmaxAttention';

export const softmaxAttentionCases: Case[] = [
  {
    op,
    title: 'softmaxAttention, full',
    sizes: [
      { qLen: 1, headDim: 1 },
      { batch: 2, qLen: 3, kLen: 7, nHeads: 2, headDim: 3, valueDim: 5 },
      { batch: 2, qLen: 9, kLen: 5, nHeads: 3, headDim: 5, valueDim: 2 },
      { qLen: 17, kLen: 66, headDim: 4, valueDim: 1 },
      { qLen: 66, kLen: 9, headDim: 2, valueDim: 9 },
      { qLen: 4, kLen: 1, headDim: 6 },
    ],
    inputs: (size, rng) => qkv(size, rng),
    tolerance: 1e-6,
    backward,
  },
  {
    op,
    title: 'softmaxAttention, causal',
    sizes: [
      { qLen: 1, headDim: 5 },
      { batch: 2, qLen: 13, nHeads: 4, nKvHeads: 2, headDim: 3, valueDim: 7 },
      { qLen: 67, nHeads: 1, headDim: 4 },
      { qLen: 21, nHeads: 3, nKvHeads: 1, headDim: 5 },
      { qLen: 2, kLen: 11, nHeads: 2, headDim: 4, queryOffset: 9 },
      { qLen: 9, kLen: 12, nHeads: 2, headDim: 4, queryOffset: 2, scale: 0.7 },
    ],
    inputs: (size, rng) => ({
      ...qkv(size, rng),
      causal: true,
      queryOffset: size.queryOffset,
      scale: size.scale,
    }),
    tolerance: 1e-6,
    backward,
  },
  {
    op,
    title: 'softmaxAttention, window and ALiBi',
    sizes: [
      { qLen: 3, headDim: 2, window: 1, causal: true },
      { qLen: 30, nHeads: 2, nKvHeads: 1, headDim: 3, window: 4, causal: true, alibi: true },
      { qLen: 19, kLen: 23, headDim: 3, window: 6, causal: true, queryOffset: 4 },
      { qLen: 11, nHeads: 2, headDim: 3, window: 3, causal: false, alibi: true },
      { qLen: 70, headDim: 2, window: 9, causal: true },
      { qLen: 12, nHeads: 3, headDim: 4, causal: true, alibi: true },
      { qLen: 2, kLen: 9, nHeads: 2, headDim: 4, causal: true, alibi: true, queryOffset: 7, window: 5 },
    ],
    inputs: (size, rng) => ({
      ...qkv(size, rng),
      causal: size.causal,
      window: size.window,
      queryOffset: size.queryOffset,
      alibiSlopes: size.alibi ? uniform(rng, [Number(size.nHeads)], 0.01, 0.5) : undefined,
    }),
    tolerance: 1e-6,
    backward,
  },
  {
    op,
    title: 'softmaxAttention, padded keys',
    sizes: [
      { batch: 2, qLen: 6, kLen: 12, nHeads: 2, nKvHeads: 1, headDim: 3 },
      { batch: 2, qLen: 2, kLen: 7, headDim: 4 },
    ],
    inputs: (size, rng) => ({ ...qkv(size, rng), keyLengths: [Number(size.kLen) - 1, 3] }),
    tolerance: 1e-6,
    backward,
  },
  {
    op,
    title: 'softmaxAttention, sparse',
    sizes: [
      { qLen: 1, headDim: 3, stride: 2 },
      { qLen: 31, nHeads: 2, headDim: 3, stride: 4 },
      { qLen: 31, nHeads: 2, headDim: 3, stride: 5, summary: 2 },
      { qLen: 12, headDim: 3, stride: 1 },
      { qLen: 12, headDim: 3, stride: 3, summary: 3 },
      { qLen: 68, headDim: 2, stride: 9 },
      { qLen: 68, headDim: 2, stride: 9, summary: 1 },
      { qLen: 14, kLen: 30, nHeads: 4, nKvHeads: 2, headDim: 3, stride: 4, queryOffset: 13, window: 14 },
      { qLen: 14, kLen: 30, headDim: 3, stride: 4, summary: 2, queryOffset: 13, window: 11, alibi: true },
      { qLen: 2, kLen: 30, nHeads: 2, headDim: 4, stride: 4, queryOffset: 27, alibi: true },
      { qLen: 6, headDim: 2, stride: 10 },
    ],
    inputs: (size, rng) => ({
      ...qkv(size, rng),
      causal: true,
      window: size.window,
      queryOffset: size.queryOffset,
      alibiSlopes: size.alibi ? uniform(rng, [Number(size.nHeads ?? 1)], 0.01, 0.5) : undefined,
      sparse:
        size.summary === undefined
          ? { pattern: 'strided', stride: size.stride }
          : { pattern: 'fixed', stride: size.stride, summary: size.summary },
    }),
    tolerance: 1e-6,
    backward,
  },
  {
    op,
    title: 'softmaxAttention, past several tiles',
    sizes: [
      { qLen: 131, nHeads: 2, nKvHeads: 1, headDim: 20, valueDim: 33, causal: true },
      { qLen: 200, headDim: 64, causal: true },
      { qLen: 129, kLen: 190, headDim: 80, causal: false },
      { qLen: 150, headDim: 128, causal: true, window: 40 },
    ],
    inputs: (size, rng) => ({ ...qkv(size, rng), causal: size.causal, window: size.window }),
    tolerance: 2e-6,
  },
  {
    op,
    title: 'softmaxAttention, gradients of keys in partial sums',
    sizes: [
      // Long enough to be cut: the gradients are to take 0.4 ms or more.
      { qLen: 300, headDim: 64, causal: true },
      { qLen: 130, kLen: 140, nHeads: 6, nKvHeads: 2, headDim: 40, valueDim: 41 },
      { qLen: 400, nHeads: 2, headDim: 40, causal: true, window: 120 },
      { qLen: 520, headDim: 48, causal: true, stride: 2 },
      { batch: 2, qLen: 256, nHeads: 3, nKvHeads: 1, headDim: 40, causal: true, stride: 100, summary: 60 },
    ],
    inputs: (size, rng) => ({
      ...qkv(size, rng),
      causal: size.causal,
      window: size.window,
      sparse:
        size.stride === undefined
          ? undefined
          : size.summary === undefined
            ? { pattern: 'strided', stride: size.stride }
            : { pattern: 'fixed', stride: size.stride, summary: size.summary },
    }),
    tolerance: 2e-6,
    backward,
  },
  {
    op,
    title: 'softmaxAttention, scores of several hundred',
    sizes: [
      { qLen: 40, nHeads: 2, headDim: 16 },
      { qLen: 3, headDim: 16 },
    ],
    inputs: (size, rng) => ({ ...qkv(size, rng, 8), causal: true }),
    tolerance: 5e-5,
  },
  {
    op: 'softmaxAttentionStep',
    sizes: [
      { batch: 1, capacity: 1, nHeads: 1, nKvHeads: 1, headDim: 1, valueDim: 1, length: 0 },
      { batch: 2, capacity: 9, nHeads: 4, nKvHeads: 2, headDim: 5, valueDim: 3, length: 8 },
      { batch: 2, capacity: 40, nHeads: 3, nKvHeads: 1, headDim: 16, valueDim: 18, length: 30, ragged: true },
      { batch: 1, capacity: 20, nHeads: 2, nKvHeads: 2, headDim: 6, valueDim: 6, length: 17, window: 4 },
      { batch: 1, capacity: 40, nHeads: 2, nKvHeads: 2, headDim: 6, valueDim: 70, length: 37, stride: 6 },
    ],
    inputs: (size, rng) => {
      const [batch, capacity, nHeads, nKvHeads, headDim, valueDim, length] = [
        size.batch,
        size.capacity,
        size.nHeads,
        size.nKvHeads,
        size.headDim,
        size.valueDim,
        size.length,
      ].map(Number);
      return {
        q: normal(rng, [batch, nHeads, headDim]),
        k: normal(rng, [batch, nKvHeads, headDim]),
        v: normal(rng, [batch, nKvHeads, valueDim]),
        kCache: normal(rng, [batch, capacity, nKvHeads, headDim]),
        vCache: normal(rng, [batch, capacity, nKvHeads, valueDim]),
        length: size.ragged ? [length, 5] : length,
        window: size.window,
        alibiSlopes: size.window === undefined ? undefined : uniform(rng, [nHeads], 0.01, 0.5),
        sparse: size.stride === undefined ? undefined : { pattern: 'strided', stride: size.stride },
      };
    },
    tolerance: 1e-6,
    updates: ['kCache', 'vCache'],
  },
  {
    op: 'alibiSlopes',
    sizes: [{ nHeads: 1 }, { nHeads: 2 }, { nHeads: 3 }, { nHeads: 8 }, { nHeads: 12 }, { nHeads: 40 }],
    inputs: ({ nHeads }) => ({ nHeads }),
    tolerance: 1e-7,
  },
];
