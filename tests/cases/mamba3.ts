import type { Random } from '@freelunch/random';
import { type Case, type HostArgs, normal, type Size, uniform } from './case.ts';

/** Every option on; `plain` takes away all that may be absent, `floor` takes A for the number before its floor. */
function inputs(size: Size, rng: Random): HostArgs {
  const n = (name: string) => Number(size[name] ?? 1);
  const tokens = size.seqLen === undefined ? [n('batch')] : [n('batch'), n('seqLen')];
  const [nHeads, headDim, nRanks, dState, nAngles] = [
    n('nHeads'),
    n('headDim'),
    n('nRanks'),
    n('dState'),
    n('nAngles'),
  ];
  const heads = [...tokens, nHeads];
  const group = [...tokens, nRanks, n('nGroups'), dState];
  const plain = size.plain === true;
  const carried = (): [HostArgs[string], HostArgs[string], HostArgs[string], HostArgs[string]] => [
    uniform(rng, [n('batch'), nHeads, nAngles], -3, 3),
    normal(rng, [n('batch'), nHeads, headDim, dState]),
    normal(rng, [n('batch'), nRanks, nHeads, dState]),
    normal(rng, [n('batch'), nHeads, headDim]),
  ];
  const args: HostArgs = {
    x: normal(rng, [...heads, headDim]),
    dt: plain ? uniform(rng, heads, 0.1, 1) : normal(rng, heads),
    A: size.floor === true ? normal(rng, heads) : uniform(rng, heads, -1.5, -0.1),
    trap: normal(rng, heads),
    B: normal(rng, group),
    C: normal(rng, group),
    angles: normal(rng, [...tokens, size.shared === true ? 1 : nHeads, nAngles], 0.5),
    BBias: plain ? undefined : normal(rng, [nHeads, nRanks, dState]),
    CBias: plain ? undefined : normal(rng, [nHeads, nRanks, dState]),
    D: plain ? undefined : normal(rng, [nHeads]),
    mimoX: nRanks > 1 || size.mixed === true ? normal(rng, [nHeads, nRanks, headDim]) : undefined,
    dtBias: plain ? undefined : uniform(rng, [nHeads], -2, 0),
    dtSoftplus: !plain,
    aFloor: size.floor === true ? 0.3 : undefined,
    convention: size.half === true ? 'half' : undefined,
  };
  const [angle, state, B, x] = carried();
  if (size.seqLen === undefined) return { ...args, angle, state, lastB: B, lastX: x };
  if (size.chunkSize !== undefined) args.chunkSize = size.chunkSize as number;
  if (plain) return args;
  return { ...args, initialAngle: angle, initialState: state, initialB: B, initialX: x };
}

// prettier-ignore
const sizes: Size[] = [
  { batch: 1, seqLen: 1, nHeads: 1, headDim: 1, dState: 2, nAngles: 1 },
  { batch: 2, seqLen: 11, nHeads: 3, headDim: 5, dState: 7, nAngles: 3, chunkSize: 4, shared: true },
  { batch: 1, seqLen: 13, nHeads: 4, headDim: 4, nGroups: 2, dState: 8, nAngles: 2, chunkSize: 6, floor: true, mixed: true },
  { batch: 1, seqLen: 20, nHeads: 2, headDim: 9, dState: 6, nAngles: 1, chunkSize: 9, plain: true },
  { batch: 1, seqLen: 5, nHeads: 2, headDim: 6, dState: 10, nAngles: 5, chunkSize: 1, half: true },
  { batch: 1, seqLen: 12, nHeads: 2, headDim: 3, nRanks: 3, dState: 6, nAngles: 2, chunkSize: 4, half: true, shared: true },
  { batch: 2, seqLen: 9, nHeads: 4, headDim: 5, nRanks: 2, nGroups: 2, dState: 12, nAngles: 5, half: true, floor: true },
  { batch: 1, seqLen: 10, nHeads: 2, headDim: 2, nRanks: 2, dState: 5, nAngles: 2, chunkSize: 3, plain: true },
  { batch: 3, seqLen: 6, nHeads: 7, headDim: 2, dState: 4, nAngles: 2, chunkSize: 16, shared: true }, // backward: bundles of 3, 3, 1 heads
  { batch: 1, seqLen: 101, nHeads: 1, headDim: 2, dState: 3, nAngles: 1 },
];

// prettier-ignore
const differentiable = [
  'x', 'dt', 'A', 'trap', 'B', 'C', 'angles', 'BBias', 'CBias', 'D', 'mimoX', 'dtBias',
  'initialAngle', 'initialState', 'initialB', 'initialX',
];

export const mamba3Cases: Case[] = [
  {
    op: 'mamba3',
    sizes,
    inputs,
    tolerance: 2e-6,
    backward: {
      tolerance: 1e-5,
      inputs: differentiable,
      outputs: ['y', 'lastAngle', 'lastState', 'lastB', 'lastX'],
    },
  },
  {
    op: 'mamba3',
    title: 'mamba3, larger than finite differences can be taken of',
    // prettier-ignore
    sizes: [
      { batch: 1, seqLen: 205, nHeads: 3, headDim: 64, dState: 130, nAngles: 32, shared: true },
      { batch: 2, seqLen: 70, nHeads: 4, headDim: 17, nGroups: 2, dState: 33, nAngles: 16, chunkSize: 1 },
      { batch: 2, seqLen: 70, nHeads: 4, headDim: 17, nRanks: 4, nGroups: 2, dState: 34, nAngles: 16, half: true },
    ],
    inputs,
    tolerance: 2e-6,
  },
  {
    op: 'mamba3Step',
    sizes: [
      { batch: 1, nHeads: 1, headDim: 1, dState: 2, nAngles: 1 },
      { batch: 2, nHeads: 6, headDim: 5, nGroups: 3, dState: 7, nAngles: 2, floor: true },
      { batch: 1, nHeads: 2, headDim: 7, dState: 18, nAngles: 9, shared: true },
      { batch: 3, nHeads: 2, headDim: 8, nRanks: 3, nGroups: 2, dState: 16, nAngles: 4, half: true },
    ],
    inputs,
    tolerance: 1e-6,
    updates: ['angle', 'state', 'lastB', 'lastX'],
  },
];
