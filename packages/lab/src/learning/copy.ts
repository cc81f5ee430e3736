/**
 * L1: COPY learned from samples.
 *
 * The string has a fixed length and every learner has learned positions added to its tokens, so that where to look is known,
 * as in the theory's definition of COPY: what is left to learn is to keep and to fetch.
 */
import { copy } from '@freelunch/tasks';
import { checksOf } from '../experiments/check.js';
import type { Findings, Verdict } from '../experiments/experiment.js';
import { grouped, percentText } from '../report/format.js';
import { agreementOf, agreementOfOrders, meanOf, orderOf } from '../report/statistics.js';
import {
  byLearner,
  examplesText,
  examplesTo,
  learningCurves,
  right,
  shareCell,
  sizeCells,
  sizeColumns,
  trainingText,
  where,
} from './findings.js';
import { type LearnConfig, learnExperiment, type Run, withoutPlaces } from './learn-experiment.js';
import { learnerLabel, mambaState } from './learners.js';

export interface LearnCopyConfig extends LearnConfig {
  /** Letters in the string; the convolution of Mamba alone reaches back over 3. */
  lengths: number[];
  /** Different letters. */
  vocabSize: number;
}

type At = { length: number; vocabSize: number };
type LearnCopyRow = At & Run;

const quick: LearnCopyConfig = {
  learners: ['softmax', 'mamba:1', 'mamba:4', 'mamba:16'],
  lengths: [4, 8, 12],
  vocabSize: 8,
  training: {
    dModel: 32,
    nLayers: 1,
    nHeads: 2,
    expand: 1,
    mlp: 0,
    dConv: 0,
    embeddingStd: 0.02,
    batchSize: 16,
    steps: 3500,
    searchSteps: 1500,
    learningRates: [0.003, 0.006, 0.012],
    warmupSteps: 50,
    weightDecay: 0.01,
    seeds: 3,
    evaluations: 14,
    testSamples: 128,
  },
};

const full: LearnCopyConfig = {
  learners: ['softmax', 'linear', 'mamba:1', 'mamba:4', 'mamba:16', 'mamba:64', 'mamba2:16'],
  lengths: [4, 8, 16, 32],
  vocabSize: 16,
  training: {
    ...quick.training,
    dModel: 64,
    steps: 20000,
    searchSteps: 6000,
    seeds: 5,
    evaluations: 20,
    testSamples: 512,
  },
};

/** A race of a minute: softmax attention against Mamba with a small and a larger state. */
export const raceConfig: LearnCopyConfig = {
  ...quick,
  learners: ['softmax', 'mamba:1', 'mamba:16'],
  lengths: [8],
  training: { ...quick.training, steps: 3500, learningRates: [0.006], seeds: 1, evaluations: 14 },
};

export const learnCopy = learnExperiment<LearnCopyConfig, At, Run>({
  name: 'learn-copy',
  summary: 'How many examples and how much state does it take to learn to copy?',
  claims: ['L1'],
  presets: { quick, full },

  grid({ lengths, vocabSize }) {
    const { whole } = checksOf('learn-copy');
    whole('lengths', lengths, 2, 4096);
    whole('vocabSize', vocabSize, 2, 4096);
    return lengths.map((length) => ({ key: `length ${length}`, at: { length, vocabSize } }));
  },

  setup: ({ length, vocabSize }) => ({
    task: copy({ vocabSize, length }),
    position: { type: 'learned', maxLength: 2 * length + 2 },
  }),

  keep: withoutPlaces,
  findings,
});

function findings(config: LearnCopyConfig, rows: LearnCopyRow[]): Findings {
  const { lengths, vocabSize, training } = config;
  const ofLength = (length: number) => where(rows, { length });
  const bits = (length: number) => (length * Math.log2(vocabSize)).toFixed(0);
  const chance = (length: number) => (100 * (1 + length / vocabSize)) / (length + 1);
  return {
    text: [
      ...lengths.map((length) => {
        const shares = byLearner(ofLength(length)).map(
          ([learner, own]) => `${learnerLabel(learner)}: ${percentText(right(own, 'exact'))}`,
        );
        return `Whole strings of ${length} letters right after training: ${shares.join('; ')}.`;
      }),
      trainingText(training),
    ],
    figures: lengths.flatMap((length) =>
      (['exact', 'tokens'] as const).map((of) =>
        learningCurves(
          `Copying ${length} of ${vocabSize} letters, ${of === 'exact' ? 'whole strings' : 'tokens'}`,
          `The string has ${bits(length)} bits. ` +
            (of === 'tokens'
              ? `A learner that knows nothing gets the end mark and one letter in ${vocabSize} right: ${chance(length).toFixed(0)} %.`
              : 'All letters and the end mark must be right.'),
          ofLength(length),
          of,
        ),
      ),
    ),
    tables: lengths.map((length) => ({
      title: `Copying ${length} letters: what it took`,
      columns: [
        'learner',
        ...sizeColumns,
        'learning rate',
        'strings right, %',
        'tokens right, %',
        'examples to 90 % of strings',
      ],
      rows: byLearner(ofLength(length)).map(([learner, own]) => [
        learnerLabel(learner),
        ...sizeCells(own),
        String(own[0].learningRate),
        shareCell(own, 'exact'),
        shareCell(own, 'tokens'),
        examplesText(own, 0.9),
      ]),
      caption: `${grouped(training.steps * training.batchSize)} examples each. Floats kept: the state or cache of one sequence, with room for all of its tokens.`,
    })),
    verdicts: [samplesVerdict, stateVerdict, lengthVerdict].flatMap((verdict) => verdict(config, rows)),
  };
}

/** Softmax attention is there first, at every length. */
function samplesVerdict({ learners, lengths }: LearnCopyConfig, rows: readonly LearnCopyRow[]): Verdict[] {
  if (!learners.includes('softmax') || !learners.some(mambaState)) return [];
  const mean = (runs: readonly Run[]) => meanOf(examplesTo(runs, 0.9)); // NaN if none got there
  // Those who get there more often come first, then those who need less.
  const compare = (a: readonly Run[], b: readonly Run[]) =>
    examplesTo(b, 0.9).length - examplesTo(a, 0.9).length || mean(a) - mean(b) || 0;
  let first = 0;
  const measured = lengths.map((length) => {
    const softmax = where(rows, { length, learner: 'softmax' });
    const [best] = byLearner(where(rows, { length }))
      .filter(([learner]) => mambaState(learner) !== undefined)
      .map(([, own]) => own)
      .toSorted(compare);
    if (compare(softmax, best) < 0) first++;
    return `${length} letters: softmax attention ${examplesText(softmax, 0.9)}, best Mamba ${examplesText(best, 0.9)}`;
  });
  return [
    {
      claim: 'L1',
      theory: 'Softmax attention learns to copy from fewer examples than Mamba',
      measured: `Examples until 90 % of strings are right: ${measured.join('; ')}`,
      agrees: agreementOf(first, lengths.length),
    },
  ];
}

/** The largest state is above the smallest, wherever the smallest does not copy already. */
function stateVerdict({ learners, lengths }: LearnCopyConfig, rows: readonly LearnCopyRow[]): Verdict[] {
  const states = learners.map(mambaState).filter((state) => state !== undefined);
  if (states.length < 2) return [];
  const ends = [Math.min(...states), Math.max(...states)];
  const orders: (1 | 0 | -1)[] = [];
  const measured = lengths.map((length) => {
    const [low, high] = ends.map((N) => right(where(rows, { length, learner: `mamba:${N}` }), 'tokens'));
    if (low.mean < 0.99) orders.push(orderOf(high, low));
    return `${length} letters: ${percentText(low)} to ${percentText(high)}`;
  });
  return [
    {
      claim: 'L1',
      theory: 'Mamba needs a state that grows with what it copies: a larger one gets more right',
      measured: `Tokens right from N = ${ends[0]} to N = ${ends[1]}, ${measured.join('; ')}`,
      agrees: agreementOfOrders(orders),
    },
  ];
}

/** For the same state, longer strings come out worse; softmax attention does not mind. */
function lengthVerdict({ learners, lengths }: LearnCopyConfig, rows: readonly LearnCopyRow[]): Verdict[] {
  if (lengths.length < 2) return [];
  const ends = [Math.min(...lengths), Math.max(...lengths)];
  const orders: (1 | 0 | -1)[] = [];
  const measured = learners
    .filter((learner) => learner === 'softmax' || mambaState(learner) !== undefined)
    .map((learner) => {
      const [short, long] = ends.map((length) => right(where(rows, { length, learner }), 'exact'));
      // A learner that does not copy the shortest strings says nothing about longer ones.
      if (learner === 'softmax') orders.push(long.mean >= 0.99 ? 1 : -1);
      else if (short.mean >= 0.5) orders.push(orderOf(short, long));
      return `${learnerLabel(learner)}: ${percentText(short)} to ${percentText(long)}`;
    });
  return [
    {
      claim: 'L1',
      theory: 'As strings grow, Mamba with the same state falls behind; softmax attention does not',
      measured: `Strings right from ${ends[0]} to ${ends[1]} letters: ${measured.join('; ')}`,
      agrees: agreementOfOrders(orders),
    },
  ];
}
