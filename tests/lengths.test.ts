import { describe, it } from 'vitest';
import { type Size, titleOf } from './cases/case.ts';
import { cases } from './cases/index.ts';
import { checkGradient, checkReference } from './checks.ts';
import { guarded } from './kernels.ts';

// Kernels go through an axis in blocks, vectors and lanes, each with a rest: every length up to past the widest of
// these takes every way through.
const LENGTHS = [...Array.from({ length: 18 }, (_, i) => i + 1), 23, 24, 25, 31, 32, 33];

/** Case by title, a size of it, and the axes of which each takes every length in turn. */
const swept: [title: string, size: Size, axes: string[]][] = [
  [
    'selectiveScan',
    { batch: 1, seqLen: 3, dInner: 3, dState: 3, all: true, softplus: true },
    ['seqLen', 'dInner', 'dState'],
  ],
  [
    'selectiveScan',
    { batch: 1, seqLen: 3, dInner: 4, dState: 3, B: 'const', C: 2, softplus: true },
    ['seqLen', 'dState'],
  ],
  ['selectiveScanStep', { batch: 2, dInner: 3, dState: 3, all: true }, ['dInner', 'dState']],
  [
    'ssd',
    { batch: 1, seqLen: 5, nHeads: 2, headDim: 3, nGroups: 1, dState: 3, chunkSize: 4 },
    ['seqLen', 'headDim', 'dState'],
  ],
  ['ssd', { batch: 1, seqLen: 35, nHeads: 1, headDim: 3, nGroups: 1, dState: 3 }, ['chunkSize']],
  [
    'mamba3',
    { batch: 1, seqLen: 5, nHeads: 2, headDim: 3, dState: 4, nAngles: 1, chunkSize: 4 },
    ['seqLen', 'headDim'],
  ],
  [
    'mamba3',
    { batch: 1, seqLen: 7, nHeads: 2, headDim: 3, nRanks: 3, dState: 66, nAngles: 2, half: true },
    ['seqLen', 'nAngles', 'nRanks'],
  ],
  ['mamba3', { batch: 1, seqLen: 35, nHeads: 1, headDim: 3, dState: 3, nAngles: 1 }, ['chunkSize']],
  [
    'mamba3Step',
    { batch: 1, nHeads: 2, headDim: 3, dState: 66, nAngles: 2 },
    ['headDim', 'nAngles', 'nRanks'],
  ],
  ['mamba3Gate', { batch: 2, nHeads: 2, nRanks: 2, headDim: 3, norm: true, mixed: true }, ['headDim']],
  ['ssdStep', { batch: 1, nHeads: 2, headDim: 3, nGroups: 1, dState: 3 }, ['headDim', 'dState']],
  [
    'linearAttention',
    { seqLen: 3, nHeads: 2, dKey: 3, dValue: 3, featureMap: 'elu1', initial: true },
    ['seqLen', 'dKey', 'dValue'],
  ],
  [
    'linearAttention, normalised',
    { seqLen: 3, dKey: 3, dValue: 3, normalize: true, featureMap: 'elu1', decay: 'step', initial: true },
    ['seqLen', 'dKey', 'dValue'],
  ],
  [
    'linearAttention with gate',
    { seqLen: 3, dKey: 3, dValue: 3, gate: 'mild', initial: true },
    ['seqLen', 'dKey', 'dValue'],
  ],
  [
    'linearAttention in chunks, normalised',
    // prettier-ignore
    { seqLen: 27, dKey: 3, dValue: 3, form: 'chunked', normalize: true, featureMap: 'elu1', decay: 'step', initial: true },
    ['seqLen', 'dKey', 'dValue'],
  ],
  [
    'linearAttentionStep, normalised',
    { nHeads: 2, dKey: 3, dValue: 3, featureMap: 'elu1', normalize: true, decay: 'head' },
    ['dKey', 'dValue'],
  ],
  [
    'gatedDeltaRule',
    { seqLen: 3, nHeads: 2, dKey: 3, dValue: 3, decay: 'mild', l2Normalize: true, initial: true },
    ['seqLen', 'dKey', 'dValue'],
  ],
  [
    'gatedDeltaRuleStep',
    { nHeads: 2, dKey: 3, dValue: 3, decay: 'mild', l2Normalize: true },
    ['dKey', 'dValue'],
  ],
  [
    'softmaxAttention, full',
    { qLen: 3, kLen: 5, headDim: 3, valueDim: 3 },
    ['qLen', 'kLen', 'headDim', 'valueDim'],
  ],
  ['softmaxAttention, full', { qLen: 1, kLen: 5, headDim: 3, valueDim: 3 }, ['kLen', 'headDim', 'valueDim']],
  ['softmaxAttention, causal', { qLen: 3, nHeads: 2, nKvHeads: 1, headDim: 3 }, ['qLen', 'headDim']],
  [
    'softmaxAttention, window and ALiBi',
    { qLen: 34, nHeads: 1, headDim: 3, causal: true, alibi: true },
    ['window'],
  ],
  ['softmaxAttention, sparse', { qLen: 34, headDim: 3 }, ['stride']],
  [
    'softmaxAttentionStep',
    { batch: 2, capacity: 36, nHeads: 2, nKvHeads: 1, headDim: 3, valueDim: 3, length: 5 },
    ['length', 'headDim', 'valueDim'],
  ],
  [
    'causalConv1d',
    { batch: 1, seqLen: 5, channels: 3, width: 4, activation: 'silu' },
    ['seqLen', 'channels'],
  ],
  [
    'causalConv1d',
    { batch: 1, seqLen: 3, channels: 5, width: 5, activation: 'silu' },
    ['seqLen', 'channels'],
  ],
  ['causalConv1dStep', { batch: 1, channels: 3, width: 4, activation: 'silu' }, ['channels']],
  ...[false, true].flatMap((transposeA) =>
    [false, true].map((transposeB): [string, Size, string[]] => [
      'matmul',
      { m: 5, n: 6, k: 7, transposeA, transposeB },
      ['m', 'n', 'k'],
    ]),
  ),
  ['matmul', { m: 1, n: 6, k: 7, bias: true }, ['n', 'k']],
  ['rmsNorm with weight', { rows: 3, dim: 3 }, ['rows', 'dim']],
  ['layerNorm with weight, bias', { rows: 3, dim: 3 }, ['rows', 'dim']],
  ['gatedRmsNorm, norm first, with weight', { rows: 3, dim: 3, groups: 1 }, ['rows', 'dim']],
  ['gatedRmsNorm, gate first, with weight', { rows: 3, dim: 3, groups: 1 }, ['rows', 'dim']],
  ['crossEntropy mean', { batch: 1, seqLen: 3, vocabSize: 3 }, ['vocabSize']],
  ['crossEntropy none', { batch: 1, seqLen: 3, vocabSize: 3 }, ['vocabSize']],
  ['embedding', { batch: 1, seqLen: 3, vocabSize: 5, dModel: 3 }, ['dModel']],
  ['rope half', { batch: 1, seqLen: 3, nHeads: 2, headDim: 68 }, ['seqLen', 'rotaryDim']],
  ['rope interleaved', { batch: 1, seqLen: 3, nHeads: 2, headDim: 68 }, ['seqLen', 'rotaryDim']],
  ...cases
    .filter((c) => c.sizes.every((size) => Object.keys(size).join(',') === 'size'))
    .map((c): [string, Size, string[]] => [titleOf(c), {}, ['size']]),
];

/** Lengths of an axis: pairs for those that count them. */
const lengthsOf = (axis: string) => (axis === 'rotaryDim' ? LENGTHS.map((length) => 2 * length) : LENGTHS);

describe.each(guarded)('%s', (_variant, k) => {
  describe.each(swept.flatMap(([title, size, axes]) => axes.map((axis) => [title, axis, size] as const)))(
    '%s at every %s',
    (title, axis, base) => {
      const c = cases.find((entry) => titleOf(entry) === title)!;
      const sizes = lengthsOf(axis).map((length) => ({ ...base, [axis]: length }));

      it('matches its definition', () => {
        for (const size of sizes) at(size[axis], () => checkReference(k, c, size, 2 * c.tolerance));
      });

      if (c.backward !== undefined) {
        it('has the gradient of its definition', () => {
          for (const size of sizes)
            at(size[axis], () => checkGradient(k, c, size, { elements: false, leastScale: 0.1 }));
        });
      }
    },
  );
});

/** Names the length in the error. */
function at(length: Size[string], check: () => void): void {
  try {
    check();
  } catch (error) {
    throw new Error(`at length ${length}: ${(error as Error).message}`, { cause: error });
  }
}
