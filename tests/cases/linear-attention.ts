import type { Random } from '@freelunch/random';
import {
  type Case,
  fill,
  type HostArgs,
  type HostTensor,
  isTensor,
  normal,
  type Size,
  uniform,
} from './case.ts';

const shapes = (size: Size) => ({
  steps: [Number(size.batch ?? 1), Number(size.seqLen), Number(size.nHeads ?? 1)],
  heads: [Number(size.batch ?? 1), Number(size.nHeads ?? 1)],
  dKey: Number(size.dKey),
  dValue: Number(size.dValue),
});

function sequence(size: Size, rng: Random): HostArgs {
  const { steps, heads, dKey, dValue } = shapes(size);
  const args: HostArgs = {
    q: normal(rng, [...steps, dKey]),
    k: normal(rng, [...steps, dKey]),
    v: normal(rng, [...steps, dValue]),
  };
  if (size.featureMap !== undefined) args.featureMap = size.featureMap;
  if (size.normalize) args.normalize = true;
  if (size.scale !== undefined) args.scale = size.scale;
  if (size.eps !== undefined) args.eps = size.eps;
  if (size.form !== undefined) args.form = size.form;
  if (size.initial) {
    args.initialState = normal(rng, [...heads, dKey, dValue]);
    // Positive, as sums of positive features are: a denominator near zero would make any gradient inexact.
    if (size.normalize) args.initialNormalizer = uniform(rng, [...heads, dKey], 1, 2);
  }
  if (size.decay === 'head') args.decay = fill([heads[1]], (h) => Math.log1p(-(2 ** (-2 - h))));
  if (size.decay === 'step') args.decay = uniform(rng, steps, -1, 0);
  if (size.decay === 'strong') args.decay = fill(steps, () => (rng.integer(4) === 0 ? 0 : -30 * rng.float()));
  if (size.decay === 'erase') args.decay = fill(steps, () => (rng.integer(4) === 0 ? -Infinity : -0.1));
  if (size.gate === 'mild') args.gate = uniform(rng, [...steps, dKey], -0.5, 0);
  if (size.gate === 'strong') args.gate = uniform(rng, [...steps, dKey], -30, 0);
  return args;
}

/** The first step of such a sequence, on its initial state. */
function step(size: Size, rng: Random): HostArgs {
  const { initialState, initialNormalizer, ...args } = sequence({ ...size, seqLen: 1, initial: true }, rng);
  const first = Object.entries(args).map(([name, value]) => {
    const { shape, data } = value as HostTensor;
    const hasSteps = isTensor(value) && shape.length > 1;
    return [name, hasSteps ? { shape: [shape[0], ...shape.slice(2)], data } : value];
  });
  return {
    ...Object.fromEntries(first),
    state: initialState,
    ...(size.normalize && { normalizer: initialNormalizer }),
  };
}

const inputs = ['q', 'k', 'v', 'decay', 'gate', 'initialState', 'initialNormalizer'];
const odd = { batch: 2, seqLen: 5, nHeads: 3, dKey: 5, dValue: 7 };
const chunked = { ...odd, form: 'chunked' };
/** Several chunks and a rest, unless the size says otherwise. */
const chunks = (size: Size): Size => ({ ...chunked, batch: 1, seqLen: 71, nHeads: 2, ...size });
const blocks = { batch: 1, seqLen: 71, nHeads: 2, dKey: 4, dValue: 3 }; // two blocks of steps and a rest

export const linearAttentionCases: Case[] = [
  {
    op: 'linearAttention',
    sizes: [
      { seqLen: 1, dKey: 1, dValue: 1 },
      { ...odd, initial: true },
      { ...odd, featureMap: 'relu', scale: 0.7 },
      { ...odd, featureMap: 'elu1', initial: true },
      { batch: 1, seqLen: 33, nHeads: 1, dKey: 9, dValue: 8, initial: true },
      { ...blocks, featureMap: 'elu1' },
    ],
    inputs: sequence,
    tolerance: 2e-6,
    backward: { tolerance: 1e-5, inputs, outputs: ['o', 'lastState'] },
  },
  {
    op: 'linearAttention',
    title: 'linearAttention, normalised',
    sizes: [
      { seqLen: 1, dKey: 1, dValue: 1, normalize: true, featureMap: 'elu1' },
      { ...odd, normalize: true, featureMap: 'elu1', initial: true },
      { ...odd, normalize: true, featureMap: 'elu1', eps: 0.5, scale: 2 },
      { ...odd, normalize: true, featureMap: 'relu', eps: 1, initial: true },
      { ...blocks, normalize: true, featureMap: 'elu1', decay: 'head', initial: true },
      { ...odd, normalize: true, featureMap: 'elu1', gate: 'mild', initial: true },
    ],
    inputs: sequence,
    tolerance: 2e-6,
    backward: { tolerance: 2e-5, inputs, outputs: ['o', 'lastState', 'lastNormalizer'] },
  },
  {
    op: 'linearAttention',
    title: 'linearAttention with decay',
    sizes: [
      { seqLen: 1, dKey: 1, dValue: 1, decay: 'step', initial: true },
      { ...odd, decay: 'head', initial: true },
      { ...odd, decay: 'step', initial: true },
      { ...blocks, decay: 'step', featureMap: 'elu1' },
      { ...blocks, decay: 'strong', initial: true },
      { batch: 1, seqLen: 33, nHeads: 1, dKey: 3, dValue: 2, decay: 'head' },
    ],
    inputs: sequence,
    tolerance: 2e-6,
    backward: { tolerance: 1e-5, inputs, outputs: ['o', 'lastState'] },
  },
  {
    op: 'linearAttention',
    title: 'linearAttention with gate',
    sizes: [
      { seqLen: 1, dKey: 1, dValue: 1, gate: 'mild', initial: true },
      { ...odd, gate: 'mild', initial: true },
      { ...odd, gate: 'strong', initial: true },
      { ...blocks, gate: 'mild', initial: true },
      { ...blocks, gate: 'strong' },
    ],
    inputs: sequence,
    tolerance: 2e-6,
    backward: { tolerance: 1e-5, inputs, outputs: ['o', 'lastState'] },
  },
  {
    op: 'linearAttention',
    title: 'linearAttention, last state alone',
    sizes: [
      { ...odd, decay: 'strong', initial: true },
      { ...blocks, gate: 'strong', initial: true },
    ],
    inputs: sequence,
    tolerance: 2e-6,
    backward: { tolerance: 1e-5, inputs, outputs: ['lastState'] },
  },
  {
    op: 'linearAttention',
    title: 'linearAttention, long or wide',
    sizes: [
      { batch: 2, seqLen: 300, nHeads: 3, dKey: 33, dValue: 20, featureMap: 'elu1', normalize: true },
      { seqLen: 1000, dKey: 16, dValue: 16, decay: 'head' },
      { seqLen: 100, nHeads: 2, dKey: 64, dValue: 65, gate: 'mild', initial: true },
      { seqLen: 65, nHeads: 2, dKey: 6, dValue: 5, decay: 'erase', initial: true },
    ],
    inputs: sequence,
    tolerance: 3e-6,
  },
  {
    op: 'linearAttention',
    title: 'linearAttention in chunks',
    sizes: [
      { seqLen: 1, dKey: 1, dValue: 1, form: 'chunked', initial: true },
      { ...chunked, initial: true },
      { ...chunked, featureMap: 'relu', scale: 0.7 },
      { ...chunked, decay: 'head', initial: true },
      { ...chunked, decay: 'step' },
      { ...chunked, seqLen: 27, dKey: 4, dValue: 9, decay: 'strong', featureMap: 'elu1', initial: true },
    ],
    inputs: sequence,
    tolerance: 2e-6,
    backward: { tolerance: 1e-5, inputs, outputs: ['o', 'lastState'] },
  },
  {
    op: 'linearAttention',
    title: 'linearAttention in chunks, normalised',
    sizes: [
      { ...chunked, seqLen: 1, normalize: true, featureMap: 'elu1', initial: true },
      { ...chunked, normalize: true, featureMap: 'relu', eps: 1, initial: true },
      { ...chunked, normalize: true, featureMap: 'elu1', eps: 0.5, scale: 2, decay: 'step', initial: true },
    ],
    inputs: sequence,
    tolerance: 2e-6,
    backward: { tolerance: 2e-5, inputs, outputs: ['o', 'lastState', 'lastNormalizer'] },
  },
  {
    op: 'linearAttention',
    title: 'linearAttention in several chunks',
    sizes: [
      ...[19, 20, 21, 23, 24, 25, 48, 60].map((seqLen) => chunks({ seqLen, initial: true })),
      ...[1, 4, 8, 12].map((dKey) => chunks({ dKey, dValue: dKey + 2, decay: 'head', initial: true })),
      ...[1, 4, 8, 12].map((dKey) => chunks({ dKey, dValue: 17 - dKey, decay: 'step' })),
      chunks({ decay: 'strong', initial: true }),
      chunks({ decay: 'erase', initial: true }),
      chunks({ normalize: true, featureMap: 'elu1', initial: true }),
      chunks({ normalize: true, featureMap: 'elu1', decay: 'head', scale: 0.3 }),
      chunks({ normalize: true, featureMap: 'elu1', decay: 'step', initial: true }),
      chunks({ normalize: true, featureMap: 'elu1', decay: 'erase', initial: true }),
      chunks({ normalize: true, featureMap: 'relu', decay: 'strong', eps: 1, initial: true }),
      chunks({ batch: 2, seqLen: 300, dKey: 33, dValue: 20, featureMap: 'elu1', normalize: true }),
      { seqLen: 1000, dKey: 16, dValue: 16, decay: 'head', form: 'chunked' },
      { seqLen: 40, nHeads: 2, dKey: 66, dValue: 65, decay: 'step', initial: true }, // auto: chunked
      { seqLen: 40, dKey: 66, dValue: 65, decay: 'step', form: 'recurrent' },
    ],
    inputs: sequence,
    tolerance: 3e-6,
  },
  {
    op: 'linearAttentionStep',
    sizes: [
      { dKey: 1, dValue: 1 },
      { batch: 2, nHeads: 3, dKey: 5, dValue: 7, featureMap: 'relu', scale: 0.7 },
      { batch: 2, nHeads: 2, dKey: 3, dValue: 64, decay: 'step' },
    ],
    inputs: step,
    tolerance: 2e-6,
    updates: ['state'],
  },
  {
    op: 'linearAttentionStep',
    title: 'linearAttentionStep, normalised',
    sizes: [
      { batch: 2, nHeads: 3, dKey: 9, dValue: 21, featureMap: 'elu1', normalize: true, decay: 'head' },
      { batch: 2, nHeads: 2, dKey: 8, dValue: 19, featureMap: 'elu1', normalize: true, gate: 'mild' },
    ],
    inputs: step,
    tolerance: 2e-6,
    updates: ['state', 'normalizer'],
  },
];
