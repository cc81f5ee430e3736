/**
 * L1: COPY learned from samples.
 *
 * The string has a fixed length and every learner has learned positions added to its tokens, so that where to look is known,
 * as in the theory's definition of COPY: what is left to learn is to keep and to fetch.
 */
import { copy } from '@freelunch/tasks';
import type { Experiment, Findings, Piece, Verdict } from '../experiments/experiment.js';
import { grouped } from '../report/format.js';
import {
  checkTraining,
  learn,
  type Learned,
  learnerLabel,
  testSide,
  type Training,
  trainingSide,
} from './learn.js';
import {
  agreementOf,
  agreementOfOrders,
  checkOnce,
  checkWhole,
  estimate,
  examplesText,
  examplesTo,
  finals,
  groupBy,
  learningCurves,
  mambaState,
  orderOf,
  percentText,
  type Run,
  trainingText,
  withoutPlaces,
} from './findings.js';

export interface LearnCopyConfig {
  learners: string[];
  /** Letters in the string; the convolution of Mamba alone reaches back over 3. */
  lengths: number[];
  /** Different letters. */
  vocabSize: number;
  training: Training;
}

interface LearnCopyPiece extends Piece {
  learner: string;
  length: number;
  vocabSize: number;
  training: Training;
}

type LearnCopyRow = Omit<Learned, 'places'> & { length: number; vocabSize: number };

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

/** One race of a minute: softmax attention against Mamba with a small and a larger state. */
export const raceConfig: LearnCopyConfig = {
  ...quick,
  learners: ['softmax', 'mamba:1', 'mamba:16'],
  lengths: [8],
  training: { ...quick.training, steps: 3500, learningRates: [0.006], seeds: 1, evaluations: 14 },
};

export const learnCopy: Experiment<LearnCopyConfig, LearnCopyPiece, LearnCopyRow> = {
  name: 'learn-copy',
  summary: 'How many examples and how much state does it take to learn to copy?',
  claims: ['L1'],
  presets: { quick, full },

  pieces({ learners, lengths, vocabSize, training }) {
    checkWhole('learn-copy', 'lengths', lengths, 2);
    checkWhole('learn-copy', 'vocabSize', [vocabSize], 2);
    checkOnce('learn-copy', 'learners', learners);
    checkTraining('learn-copy', learners, training);
    return lengths.flatMap((length) =>
      learners.map((learner) => ({
        key: `length ${length}, ${learner}`,
        learner,
        length,
        vocabSize,
        training,
      })),
    );
  },

  async run({ learner, length, vocabSize, training }, context) {
    const task = copy({ vocabSize, length });
    const position = { type: 'learned', maxLength: 2 * length + 2 } as const;
    const setup = { learner, position, task: trainingSide(task), tests: [testSide(task)], training };
    return withoutPlaces(await learn(setup, context)).map((row) => ({ length, vocabSize, ...row }));
  },

  findings,
};

const byLearner = (rows: readonly LearnCopyRow[]) => groupBy(rows, ({ learner }) => learner);

function findings(config: LearnCopyConfig, rows: LearnCopyRow[]): Findings {
  const byLength = config.lengths.map((length) => ({
    length,
    own: rows.filter((row) => row.length === length),
  }));
  const bits = (length: number) => length * Math.log2(config.vocabSize);
  const verdicts = [samplesVerdict, stateVerdict, lengthVerdict].flatMap((verdict) => verdict(config, rows));
  return {
    text: [
      trainingText(config.training),
      ...byLength.map(({ length, own }) => {
        const shares = [...byLearner(own)].map(
          ([learner, runs]) => `${learnerLabel(learner)} ${percentText(estimate(finals(runs, 'exact')))} %`,
        );
        return `Strings of ${length} letters wholly right at the end: ${shares.join('; ')}.`;
      }),
    ],
    figures: byLength.flatMap(({ length, own }) =>
      (['exact', 'tokens'] as const).map((of) =>
        learningCurves(
          `Copying ${length} of ${config.vocabSize} letters, ${of === 'exact' ? 'whole strings' : 'tokens'}`,
          `Mean over seeds with its 95 % interval. The string has ${bits(length).toFixed(0)} bits. ` +
            (of === 'tokens'
              ? `Who knows nothing gets the end mark and one letter in ${config.vocabSize}: ${(100 * (1 / (length + 1) + length / (length + 1) / config.vocabSize)).toFixed(0)} %.`
              : `All letters and the end mark must be right.`),
          own,
          of,
        ),
      ),
    ),
    tables: byLength.map(({ length, own }) => ({
      title: `Copying ${length} letters: what it took`,
      columns: [
        'learner',
        'weights',
        'floats kept',
        'learning rate',
        'strings right, %',
        'tokens right, %',
        'examples to 90 % of strings',
      ],
      rows: [...byLearner(own)].map(([learner, runs]) => {
        return [
          learnerLabel(learner),
          grouped(runs[0].parameters),
          grouped(runs[0].stateFloats),
          String(runs[0].learningRate),
          percentText(estimate(finals(runs, 'exact'))),
          percentText(estimate(finals(runs, 'tokens'))),
          examplesText(runs, 0.9),
        ];
      }),
      caption: `${grouped(config.training.steps * config.training.batchSize)} examples each. Floats kept: state or cache of one sequence, room for later tokens included.`,
    })),
    verdicts,
  };
}

/** Softmax attention is there first, at every length. */
function samplesVerdict(config: LearnCopyConfig, rows: readonly LearnCopyRow[]): Verdict[] {
  if (!config.learners.includes('softmax') || !config.learners.some((learner) => mambaState(learner)))
    return [];
  let first = 0;
  const measured = config.lengths.map((length) => {
    const groups = byLearner(rows.filter((row) => row.length === length));
    const softmax = groups.get('softmax')!;
    const rivals = [...groups].filter(([learner]) => mambaState(learner) !== undefined);
    const mean = (runs: readonly Run[]) => estimate(examplesTo(runs, 0.9)).mean; // NaN if none got there
    // Those who get there more often come first, then those who need less.
    const compare = (a: readonly Run[], b: readonly Run[]) =>
      examplesTo(b, 0.9).length - examplesTo(a, 0.9).length || mean(a) - mean(b) || 0;
    const [best] = rivals.map(([, runs]) => runs).toSorted(compare);
    if (compare(softmax, best) < 0) first++;
    return `${length} letters: softmax attention ${examplesText(softmax, 0.9)}, best Mamba ${examplesText(best, 0.9)}`;
  });
  return [
    {
      claim: 'L1',
      theory: 'Softmax attention learns to copy from fewer examples than Mamba',
      measured: `Examples to 90 % of strings: ${measured.join('; ')}`,
      agrees: agreementOf(first, config.lengths.length),
    },
  ];
}

/** The largest state is clearly above the smallest, wherever the smallest does not copy already. */
function stateVerdict(config: LearnCopyConfig, rows: readonly LearnCopyRow[]): Verdict[] {
  const states = config.learners.map(mambaState).filter((state) => state !== undefined);
  if (states.length < 2) return [];
  const [small, large] = [Math.min(...states), Math.max(...states)];
  const orders: (1 | 0 | -1)[] = [];
  const measured = config.lengths.map((length) => {
    const at = (learner: string) =>
      estimate(
        finals(
          rows.filter((row) => row.length === length && row.learner === learner),
          'tokens',
        ),
      );
    const [low, high] = [at(`mamba:${small}`), at(`mamba:${large}`)];
    if (low.mean < 0.99) orders.push(orderOf(high, low));
    return `${length} letters: ${percentText(low)} % to ${percentText(high)} %`;
  });
  return [
    {
      claim: 'L1',
      theory: 'Mamba needs a state that grows with what it copies: a larger one gets more right',
      measured: `Tokens right from N = ${small} to N = ${large}, ${measured.join('; ')}`,
      agrees: agreementOfOrders(orders),
    },
  ];
}

/** For the same state, longer strings come out worse; softmax attention does not mind. */
function lengthVerdict(config: LearnCopyConfig, rows: readonly LearnCopyRow[]): Verdict[] {
  if (config.lengths.length < 2) return [];
  const [short, long] = [Math.min(...config.lengths), Math.max(...config.lengths)];
  const at = (learner: string, length: number) =>
    estimate(
      finals(
        rows.filter((row) => row.length === length && row.learner === learner),
        'exact',
      ),
    );
  const checked = config.learners.filter(
    (learner) => learner === 'softmax' || mambaState(learner) !== undefined,
  );
  const orders: (1 | 0 | -1)[] = [];
  for (const learner of checked) {
    const [from, to] = [at(learner, short), at(learner, long)];
    // What does not copy the shortest strings says nothing about longer ones.
    if (learner === 'softmax') orders.push(to.mean >= 0.99 ? 1 : -1);
    else if (from.mean >= 0.5) orders.push(orderOf(from, to));
  }
  return [
    {
      claim: 'L1',
      theory: 'With the length, Mamba of the same state falls behind, softmax attention does not',
      measured: `Strings right from ${short} to ${long} letters: ${checked
        .map(
          (learner) =>
            `${learnerLabel(learner)} ${percentText(at(learner, short))} % to ${percentText(at(learner, long))} %`,
        )
        .join('; ')}`,
      agrees: agreementOfOrders(orders),
    },
  ];
}
