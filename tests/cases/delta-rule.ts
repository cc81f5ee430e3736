import type { Random } from '@freelunch/random';
import { type Case, fill, type HostArgs, type HostTensor, normal, type Size, uniform } from './case.ts';

/** Rows of length 1, as the delta rule wants its keys. */
function unit(rng: Random, shape: readonly number[]): HostTensor {
  const { data } = normal(rng, shape);
  const size = shape[shape.length - 1];
  return fill(shape, (i) => {
    const row = data.slice(i - (i % size), i - (i % size) + size);
    return data[i] / Math.hypot(...row);
  });
}

function steps(size: Size, rng: Random, lead: number[]): HostArgs {
  const heads = [...lead, Number(size.nHeads ?? 1)];
  const [dKey, dValue] = [Number(size.dKey), Number(size.dValue)];
  const args: HostArgs = {
    q: normal(rng, [...heads, dKey]),
    k: size.l2Normalize ? normal(rng, [...heads, dKey]) : unit(rng, [...heads, dKey]),
    v: normal(rng, [...heads, dValue]),
    beta: uniform(rng, heads, 0, Number(size.beta ?? 1)),
  };
  if (size.decay === 'mild') args.decay = uniform(rng, heads, -0.5, 0);
  if (size.decay === 'strong') args.decay = uniform(rng, heads, -30, 0);
  if (size.l2Normalize) args.l2Normalize = true;
  if (size.scale !== undefined) args.scale = size.scale;
  if (size.eps !== undefined) args.eps = size.eps;
  return args;
}

const state = (size: Size, rng: Random) =>
  normal(rng, [Number(size.batch ?? 1), Number(size.nHeads ?? 1), Number(size.dKey), Number(size.dValue)]);

function sequence(size: Size, rng: Random): HostArgs {
  const args = steps(size, rng, [Number(size.batch ?? 1), Number(size.seqLen)]);
  return { ...args, ...(size.initial && { initialState: state(size, rng) }) };
}

function step(size: Size, rng: Random): HostArgs {
  return { ...steps(size, rng, [Number(size.batch ?? 1)]), state: state(size, rng) };
}

const one = { seqLen: 1, dKey: 1, dValue: 1 };
const odd = { batch: 2, seqLen: 5, nHeads: 3, dKey: 5, dValue: 7 };
const blocks = { seqLen: 71, nHeads: 2, dKey: 4, dValue: 3 }; // two blocks of steps and a rest
const gradient = {
  tolerance: 2e-5,
  inputs: ['q', 'k', 'v', 'beta', 'decay', 'initialState'],
  outputs: ['o', 'lastState'],
};

export const deltaRuleCases: Case[] = [
  {
    op: 'deltaRule',
    sizes: [
      one,
      { ...odd, initial: true },
      { ...odd, l2Normalize: true, scale: 0.7 },
      { ...odd, l2Normalize: true, eps: 0.3, initial: true },
      { ...blocks, beta: 2 },
      { seqLen: 33, dKey: 9, dValue: 8, initial: true },
    ],
    inputs: sequence,
    tolerance: 2e-6,
    backward: gradient,
  },
  {
    op: 'gatedDeltaRule',
    sizes: [
      { ...one, decay: 'mild', initial: true },
      { ...odd, decay: 'mild', initial: true },
      { ...odd, decay: 'strong', initial: true },
      { ...blocks, decay: 'mild', l2Normalize: true },
      { ...blocks, decay: 'strong' },
      { seqLen: 33, dKey: 3, dValue: 9, decay: 'mild', initial: true },
    ],
    inputs: sequence,
    tolerance: 2e-6,
    backward: gradient,
  },
  {
    op: 'gatedDeltaRule',
    title: 'gatedDeltaRule, last state alone',
    sizes: [
      { ...odd, decay: 'strong', initial: true },
      { ...blocks, decay: 'mild', initial: true },
    ],
    inputs: sequence,
    tolerance: 2e-6,
    backward: { ...gradient, outputs: ['lastState'] },
  },
  {
    op: 'gatedDeltaRule',
    title: 'gatedDeltaRule, long or wide',
    sizes: [
      { batch: 2, seqLen: 300, nHeads: 2, dKey: 33, dValue: 20, decay: 'mild', l2Normalize: true },
      { seqLen: 100, nHeads: 2, dKey: 64, dValue: 65, decay: 'mild', initial: true },
    ],
    inputs: sequence,
    tolerance: 3e-6,
  },
  {
    op: 'deltaRuleStep',
    sizes: [
      { dKey: 1, dValue: 1 },
      { batch: 2, nHeads: 3, dKey: 5, dValue: 7, scale: 0.7 },
      { batch: 2, nHeads: 2, dKey: 9, dValue: 37, l2Normalize: true },
    ],
    inputs: step,
    tolerance: 2e-6,
    updates: ['state'],
  },
  {
    op: 'gatedDeltaRuleStep',
    sizes: [
      { dKey: 1, dValue: 1, decay: 'mild' },
      { batch: 2, nHeads: 3, dKey: 6, dValue: 64, decay: 'mild', l2Normalize: true },
      { batch: 2, nHeads: 2, dKey: 7, dValue: 18, decay: 'strong' },
    ],
    inputs: step,
    tolerance: 2e-6,
    updates: ['state'],
  },
];
