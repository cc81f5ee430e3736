/**
 * L4: trained on short strings, tested on longer ones: which position, at which distance, fails first.
 *
 * `copy` asks for every letter from the same distance, the length and one; `reverse-copy` for near letters first and for far
 * ones last, so that what is forgotten shows by distance.
 */
import { copy, reverseCopy, type Task } from '@freelunch/tasks';
import { InputError } from '../errors.js';
import type { Experiment, Figure, Findings, Piece, Verdict } from '../experiments/experiment.js';
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
  finals,
  groupBy,
  look,
  orderOf,
  percentText,
  trainingText,
} from './findings.js';
import { fractionPlot, type Series } from '../report/plot.js';

export interface LengthGeneralisationConfig {
  /** Softmax attention as `softmax@none`, `softmax@rope` or `softmax@alibi`: learned positions cannot go on. */
  learners: string[];
  /** `copy` or `reverse-copy`. */
  tasks: string[];
  /** Letters of the longest strings trained on; the shortest have one. */
  trainLength: number;
  /** Letters of the strings tested on, ascending. */
  testLengths: number[];
  vocabSize: number;
  training: Training;
}

interface LengthPiece extends Piece {
  learner: string;
  task: string;
  trainLength: number;
  testLengths: number[];
  vocabSize: number;
  training: Training;
}

type LengthRow = Learned & { task: string; trainLength: number; testLengths: number[] };

const makers: Readonly<Record<string, typeof reverseCopy>> = { copy, 'reverse-copy': reverseCopy };

const quick: LengthGeneralisationConfig = {
  learners: [
    'softmax@none',
    'softmax@rope',
    'softmax@alibi',
    'linear',
    'mamba:4',
    'mamba:16',
    'mamba2:16',
    'hybrid:16@none',
  ],
  tasks: ['copy', 'reverse-copy'],
  trainLength: 6,
  testLengths: [4, 6, 8, 12],
  vocabSize: 8,
  training: {
    dModel: 32,
    nLayers: 2,
    nHeads: 2,
    expand: 1,
    mlp: 0,
    batchSize: 16,
    steps: 2000,
    searchSteps: 800,
    learningRates: [0.003, 0.01],
    warmupSteps: 50,
    weightDecay: 0.01,
    seeds: 3,
    evaluations: 5,
    testSamples: 128,
  },
};

const full: LengthGeneralisationConfig = {
  learners: [...quick.learners, 'mamba:64', 'gated-linear', 'hybrid:16@rope'],
  tasks: ['copy', 'reverse-copy'],
  trainLength: 16,
  testLengths: [8, 16, 24, 32, 64],
  vocabSize: 16,
  training: {
    ...quick.training,
    dModel: 64,
    batchSize: 32,
    steps: 15000,
    searchSteps: 5000,
    learningRates: [0.001, 0.003, 0.01],
    evaluations: 15,
    testSamples: 512,
  },
};

export const lengthGeneralisation: Experiment<LengthGeneralisationConfig, LengthPiece, LengthRow> = {
  name: 'length-generalisation',
  summary: 'Beyond the lengths of training, which position, at which distance, fails first?',
  claims: ['L4'],
  presets: { quick, full },

  pieces({ learners, tasks, trainLength, testLengths, vocabSize, training }) {
    const where = 'length-generalisation';
    checkWhole(where, 'testLengths', testLengths, 2);
    checkWhole(where, 'trainLength', [trainLength], 2);
    checkWhole(where, 'vocabSize', [vocabSize], 2);
    checkOnce(where, 'learners', learners);
    checkOnce(where, 'tasks', tasks);
    const unknown = tasks.find((task) => !Object.hasOwn(makers, task));
    if (unknown !== undefined)
      throw new InputError(`${where}: tasks must be of ${Object.keys(makers).join(', ')}, got '${unknown}'`);
    if (testLengths.some((length, i) => length <= (testLengths[i - 1] ?? 0)))
      throw new InputError(`${where}: testLengths must ascend, got ${testLengths.join(', ')}`);
    checkTraining(where, learners, training);
    return tasks.flatMap((task) =>
      learners.map((learner) => ({
        key: `${task}, ${learner}`,
        learner,
        task,
        trainLength,
        testLengths,
        vocabSize,
        training,
      })),
    );
  },

  async run({ learner, task: name, trainLength, testLengths, vocabSize, training }, context) {
    const setup = {
      learner,
      position: { type: 'none' } as const,
      task: trainingSide(makers[name]({ vocabSize, length: [1, trainLength] })),
      tests: testLengths.map((length): Task => testSide(makers[name]({ vocabSize, length }))),
      training,
    };
    const learned = await learn(setup, context);
    return learned.map((row) => ({ task: name, trainLength, testLengths, ...row }));
  },

  findings,
};

const RIGHT = 0.9;

/** Mean accuracy of each scored token of a test, over the seeds. */
function placesOf(rows: readonly LengthRow[], test: number) {
  return rows[0].places[test].map(({ place, distance }) => ({
    place,
    distance,
    share: estimate(rows.map(({ places }) => places[test][place].accuracy)),
  }));
}

/** The first place whose mean is below 90 %, with its distance. */
const firstFailing = (rows: readonly LengthRow[], test: number) =>
  placesOf(rows, test).find(({ share }) => share.mean < RIGHT);

function failingText(rows: readonly LengthRow[], test: number, length: number): string {
  const failing = firstFailing(rows, test);
  if (failing === undefined) return 'none';
  const { place, distance, share } = failing;
  const what = place === length ? 'the end mark' : `letter ${place + 1}`;
  return `${what}${place === length ? '' : `, distance ${Math.round(distance)}`} (${(100 * share.mean).toFixed(0)} %)`;
}

function findings(config: LengthGeneralisationConfig, rows: LengthRow[]): Findings {
  const { tasks, testLengths, trainLength } = config;
  const groups = tasks.map((task) => ({
    task,
    byLearner: groupBy(
      rows.filter((row) => row.task === task),
      ({ learner }) => learner,
    ),
  }));
  const longest = testLengths.length - 1;
  return {
    text: [
      `Trained on strings of 1 to ${trainLength} letters, tested on ${testLengths.join(', ')}. ${trainingText(config.training)}`,
      ...groups.flatMap(({ task, byLearner }) =>
        [...byLearner].map(([learner, own]) => {
          const shares = testLengths.map(
            (length, i) => `${length}: ${percentText(estimate(finals(own, 'tokens', i)))} %`,
          );
          return `${task}, ${learnerLabel(learner)}, tokens right by length: ${shares.join(', ')}; of ${testLengths[longest]} letters the first to fail: ${failingText(own, longest, testLengths[longest])}.`;
        }),
      ),
    ],
    figures: groups.flatMap(({ task, byLearner }) =>
      testLengths
        .map((length, i) => placeFigure(config, task, byLearner, length, i))
        .filter((_, i) => testLengths[i] >= trainLength),
    ),
    tables: groups.flatMap(({ task, byLearner }) => [
      {
        title: `${task}: strings and tokens right by length, %`,
        columns: ['learner', 'weights', 'floats kept', ...testLengths.map((length) => `${length} letters`)],
        rows: [...byLearner].map(([learner, own]) => [
          learnerLabel(learner),
          grouped(own[0].parameters),
          grouped(own[0].stateFloats),
          ...testLengths.map(
            (_, i) =>
              `${percentText(estimate(finals(own, 'exact', i)))}; ${percentText(estimate(finals(own, 'tokens', i)))}`,
          ),
        ]),
        caption: `Whole strings; tokens. Up to ${trainLength} letters were trained on.`,
      },
      {
        title: `${task}: what fails first`,
        columns: ['learner', ...testLengths.map((length) => `${length} letters`)],
        rows: [...byLearner].map(([learner, own]) => [
          learnerLabel(learner),
          ...testLengths.map((length, i) => failingText(own, i, length)),
        ]),
        caption: `The first place that is right in less than ${100 * RIGHT} % of the strings, mean over seeds, with its distance in tokens to what it copies.`,
      },
    ]),
    verdicts: [...lengthVerdict(config, rows), ...reachVerdict(config, rows)],
  };
}

function placeFigure(
  config: LengthGeneralisationConfig,
  task: string,
  byLearner: ReadonlyMap<string, LengthRow[]>,
  length: number,
  test: number,
): Figure {
  const series: Series[] = [...byLearner].map(([learner, own], i) => {
    const points = placesOf(own, test)
      .filter(({ place }) => place < length)
      .map(({ place, distance, share }) => ({
        x: place + 1,
        y: share.mean,
        error: share.half,
        title: `${learnerLabel(learner)}, letter ${place + 1}, distance ${distance}: ${percentText(share)} %`,
      }));
    return { name: learnerLabel(learner), ...look(i), points, line: points.map(({ x, y }) => ({ x, y })) };
  });
  return {
    title: `${task} of ${length} letters, letter by letter`,
    caption:
      `Mean over seeds with its 95 % interval; trained on at most ${config.trainLength} letters; one in ${config.vocabSize} is right by chance. ` +
      (task === 'copy'
        ? `Every letter stands ${length + 1} tokens behind its copy.`
        : `The i-th letter written stands 2 i tokens behind.`),
    plot: fractionPlot({
      description: `${task} of ${length} letters: share right of each letter, a curve for each learner.`,
      xLabel: 'letter of the copy',
      yLabel: 'right',
      xScale: 'linear',
      xTicks: Array.from({ length }, (_, i) => i + 1),
      xFormat: String,
      xRange: [0.5, length + 0.5],
      series,
    }),
  };
}

/** Everyone who copies at the trained lengths gets worse beyond them. */
function lengthVerdict(config: LengthGeneralisationConfig, rows: readonly LengthRow[]): Verdict[] {
  const { testLengths, trainLength } = config;
  const trained = testLengths.findLastIndex((length) => length <= trainLength);
  const longest = testLengths.length - 1;
  if (trained < 0 || trained === longest) return [];
  const groups = [...groupBy(rows, ({ task, learner }) => `${task}, ${learnerLabel(learner)}`)];
  const able = groups.filter(([, own]) => estimate(finals(own, 'tokens', trained)).mean >= RIGHT);
  const falls = able.filter(([, own]) => estimate(finals(own, 'tokens', longest)).mean < RIGHT);
  const measured = groups.map(
    ([name, own]) =>
      `${name} ${percentText(estimate(finals(own, 'tokens', trained)))} % to ${percentText(estimate(finals(own, 'tokens', longest)))} %`,
  );
  return [
    {
      claim: 'L4',
      theory: 'What is learned on short strings fails on longer ones, for every mixer somewhere',
      measured: `Tokens right from ${testLengths[trained]} to ${testLengths[longest]} letters: ${measured.join('; ')}`,
      agrees: able.length === 0 ? 'partly' : agreementOf(falls.length, able.length),
    },
  ];
}

/** Decay shortens the reach: what stands far back, written last, should be lost first. */
function reachVerdict(
  { tasks, testLengths }: LengthGeneralisationConfig,
  rows: readonly LengthRow[],
): Verdict[] {
  if (!tasks.includes('reverse-copy')) return [];
  const longest = testLengths.length - 1;
  const length = testLengths[longest];
  const half = Math.floor(length / 2);
  const measured = [
    ...groupBy(
      rows.filter(({ task, learner }) => task === 'reverse-copy' && !/^(softmax|hybrid)/.test(learner)),
      ({ learner }) => learner,
    ),
  ].map(([learner, own]) => {
    const shares = (from: number, to: number) =>
      estimate(
        own.map(({ places }) => {
          const some = places[longest].slice(from, to);
          return some.reduce((sum, { accuracy }) => sum + accuracy, 0) / some.length;
        }),
      );
    return { learner, near: shares(0, half), far: shares(length - half, length) };
  });
  return [
    {
      claim: 'L4',
      theory: 'A state that forgets loses far letters before near ones',
      measured: `reverse-copy of ${length} letters, the nearer half and the farther: ${measured
        .map(
          ({ learner, near, far }) =>
            `${learnerLabel(learner)} ${percentText(near)} % and ${percentText(far)} %`,
        )
        .join('; ')}`,
      agrees: agreementOfOrders(measured.map(({ near, far }) => orderOf(near, far))),
    },
  ];
}
