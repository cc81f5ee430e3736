import type { Random } from '@freelunch/random';
import { type Case, type HostArgs, normal, type Size, uniform } from './case.ts';

/** Every option on, each switched off by a flag of the size. */
function inputs(size: Size, rng: Random): HostArgs {
  const n = (name: string) => Number(size[name]);
  const tokens = size.seqLen === undefined ? [n('batch')] : [n('batch'), n('seqLen')];
  const x = [...tokens, n('nHeads'), n('headDim')];
  const group = [...tokens, n('nGroups'), n('dState')];
  const state = [n('batch'), n('nHeads'), n('headDim'), n('dState')];
  const plain = size.plain === true;
  const softplus = !plain && size.softplus !== false;
  return {
    x: normal(rng, x),
    dt: softplus ? normal(rng, [...tokens, n('nHeads')]) : uniform(rng, [...tokens, n('nHeads')], 0.1, 1),
    // A head that grows: its decays exceed 1.
    A:
      size.growing === true
        ? uniform(rng, [n('nHeads')], 0.01, 0.05)
        : uniform(rng, [n('nHeads')], -1.5, -0.1),
    B: normal(rng, group),
    C: normal(rng, group),
    D: plain ? undefined : normal(rng, size.skipByChannel === true ? x.slice(-2) : x.slice(-2, -1)),
    z: plain || size.gate === false ? undefined : normal(rng, x),
    dtBias: plain ? undefined : uniform(rng, [n('nHeads')], -2, 0),
    dtSoftplus: softplus,
    dtLimit: size.limit === true ? [0.1, 0.6] : undefined,
    ...(size.seqLen === undefined
      ? { state: normal(rng, state) }
      : {
          initialState: plain ? undefined : normal(rng, state),
          chunkSize: size.chunkSize as number | undefined,
        }),
  };
}

// prettier-ignore
const sizes: Size[] = [
  { batch: 1, seqLen: 1, nHeads: 1, headDim: 1, nGroups: 1, dState: 1 },
  { batch: 2, seqLen: 11, nHeads: 3, headDim: 5, nGroups: 1, dState: 7, chunkSize: 4 },
  { batch: 1, seqLen: 13, nHeads: 4, headDim: 4, nGroups: 2, dState: 8, chunkSize: 6, skipByChannel: true, gate: false },
  { batch: 2, seqLen: 19, nHeads: 2, headDim: 3, nGroups: 2, dState: 2, chunkSize: 9, limit: true },
  { batch: 1, seqLen: 20, nHeads: 2, headDim: 9, nGroups: 1, dState: 6, chunkSize: 7, plain: true },
  { batch: 1, seqLen: 12, nHeads: 2, headDim: 2, nGroups: 1, dState: 3, chunkSize: 5, growing: true, softplus: false },
  { batch: 1, seqLen: 5, nHeads: 2, headDim: 6, nGroups: 1, dState: 5, chunkSize: 1 },
  { batch: 3, seqLen: 6, nHeads: 7, headDim: 2, nGroups: 1, dState: 3, chunkSize: 16 }, // backward: bundles of 3, 3, 1 heads
  { batch: 1, seqLen: 101, nHeads: 1, headDim: 2, nGroups: 1, dState: 3, gate: false },
];

const differentiable = ['x', 'dt', 'A', 'B', 'C', 'D', 'z', 'dtBias', 'initialState'];

export const ssdCases: Case[] = [
  {
    op: 'ssd',
    sizes,
    inputs,
    tolerance: 2e-6,
    backward: { tolerance: 1e-5, inputs: differentiable, outputs: ['y', 'lastState'] },
  },
  {
    op: 'ssd',
    title: 'ssd, larger than finite differences can be taken of',
    // prettier-ignore
    sizes: [
      { batch: 1, seqLen: 205, nHeads: 3, headDim: 64, nGroups: 1, dState: 130 },
      { batch: 2, seqLen: 70, nHeads: 4, headDim: 17, nGroups: 2, dState: 33, chunkSize: 1 },
      { batch: 2, seqLen: 70, nHeads: 4, headDim: 17, nGroups: 2, dState: 33, chunkSize: 26 },
    ],
    inputs,
    tolerance: 2e-6,
  },
  {
    op: 'ssdStep',
    sizes: [
      { batch: 1, nHeads: 1, headDim: 1, nGroups: 1, dState: 1 },
      { batch: 2, nHeads: 6, headDim: 5, nGroups: 3, dState: 7, skipByChannel: true },
      { batch: 1, nHeads: 2, headDim: 7, nGroups: 1, dState: 18, limit: true },
      { batch: 3, nHeads: 2, headDim: 8, nGroups: 2, dState: 16, plain: true },
    ],
    inputs,
    tolerance: 1e-6,
    updates: ['state'],
  },
];
