import type { Random } from '@freelunch/random';
import { type Case, type HostArgs, normal, type Size } from './case.ts';

function inputs(size: Size, rng: Random): HostArgs {
  const { batch, seqLen, channels, width } = size as Record<string, number>;
  const state = width === 1 || size.state === false ? undefined : normal(rng, [batch, width - 1, channels]);
  const step = seqLen === undefined;
  return {
    x: normal(rng, step ? [batch, channels] : [batch, seqLen, channels]),
    weight: normal(rng, [channels, width]),
    bias: size.bias === false ? undefined : normal(rng, [channels]),
    activation: size.activation as string | undefined,
    ...(step ? { state } : { initialState: state }),
  };
}

const differentiable = { tolerance: 1e-5, inputs: ['x', 'weight', 'bias', 'initialState'] };

export const causalConv1dCases: Case[] = [
  {
    op: 'causalConv1d',
    sizes: [
      { batch: 1, seqLen: 1, channels: 1, width: 2, activation: 'silu' },
      { batch: 2, seqLen: 18, channels: 11, width: 4, activation: 'silu' },
      { batch: 2, seqLen: 21, channels: 8, width: 4, activation: 'none', bias: false, state: false },
      { batch: 1, seqLen: 7, channels: 6, width: 4, activation: 'silu', bias: false },
      { batch: 1, seqLen: 2, channels: 5, width: 4, state: false },
      { batch: 1, seqLen: 2, channels: 4, width: 4, activation: 'silu' },
      { batch: 2, seqLen: 9, channels: 3, width: 4, activation: 'silu' },
      { batch: 1, seqLen: 12, channels: 7, width: 3, activation: 'silu' },
      { batch: 2, seqLen: 6, channels: 5, width: 9, activation: 'silu' },
      { batch: 2, seqLen: 13, channels: 39, width: 4, activation: 'silu' },
      { batch: 2, seqLen: 5, channels: 34, width: 3, activation: 'silu' },
    ],
    inputs,
    tolerance: 1e-6,
    backward: { ...differentiable, outputs: ['y', 'lastState'] },
  },
  {
    op: 'causalConv1d',
    title: 'causalConv1d of width 1, which keeps no state',
    sizes: [{ batch: 2, seqLen: 5, channels: 6, width: 1, activation: 'silu' }],
    inputs,
    tolerance: 1e-6,
    backward: { ...differentiable, outputs: ['y'] },
  },
  {
    op: 'causalConv1d',
    title: 'causalConv1d, larger than finite differences can be taken of',
    sizes: [{ batch: 2, seqLen: 130, channels: 67, width: 4, activation: 'silu' }],
    inputs,
    tolerance: 1e-6,
  },
  {
    op: 'causalConv1dStep',
    sizes: [
      { batch: 1, channels: 1, width: 2 },
      { batch: 3, channels: 9, width: 4, activation: 'silu' },
      { batch: 2, channels: 16, width: 7, bias: false, activation: 'none' },
      { batch: 2, channels: 38, width: 4, activation: 'silu' },
    ],
    inputs,
    tolerance: 1e-6,
    updates: ['state'],
  },
  {
    op: 'causalConv1dStep',
    title: 'causalConv1dStep of width 1, which keeps no state',
    sizes: [{ batch: 2, channels: 5, width: 1, activation: 'silu' }],
    inputs,
    tolerance: 1e-6,
  },
];
