/**
 * L4: trained on short strings, tested on longer ones: which position, at which distance, fails first.
 *
 * `copy` asks for every letter from the same distance, the length and one; `reverse-copy` for near letters first and for far
 * ones last, so that what is forgotten shows by distance.
 */
import { copy, reverseCopy } from '@freelunch/tasks';
import { checksOf } from '../experiments/check.js';
import type { Figure, Findings, Verdict } from '../experiments/experiment.js';
import { percentText } from '../report/format.js';
import { fractionPlot } from '../report/plot.js';
import {
  agreementOf,
  agreementOfOrders,
  meanOf,
  orderOf,
  type Spread,
  spread,
} from '../report/statistics.js';
import {
  byLearner,
  groupBy,
  learnerSeries,
  right,
  SEEDS,
  shareCell,
  sizeCells,
  sizeColumns,
  trainingText,
  where,
} from './findings.js';
import type { Learned } from './learn.js';
import { type LearnConfig, learnExperiment } from './learn-experiment.js';
import { constantState, learnerLabel } from './learners.js';

/** Softmax attention names its positions, as `softmax@none`, `softmax@rope` or `softmax@alibi`: learned ones cannot go on. */
export interface LengthGeneralisationConfig extends LearnConfig {
  /** `copy` or `reverse-copy`. */
  tasks: string[];
  /** Letters of the longest strings trained on; the shortest have one. */
  trainLength: number;
  /** Letters of the strings tested on, ascending. */
  testLengths: number[];
  vocabSize: number;
}

type At = { task: string; trainLength: number; testLengths: number[] };
type LengthRow = At & Learned;

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
    dConv: 0,
    embeddingStd: 0.02,
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

export const lengthGeneralisation = learnExperiment<LengthGeneralisationConfig, At, Learned>({
  name: 'length-generalisation',
  summary: 'Beyond the lengths of training, which position, at which distance, fails first?',
  claims: ['L4'],
  presets: { quick, full },

  grid({ tasks, trainLength, testLengths, vocabSize }) {
    const { whole, once, among, each } = checksOf('length-generalisation');
    whole('testLengths', testLengths, 2, 4096);
    whole('trainLength', trainLength, 2, 4096);
    whole('vocabSize', vocabSize, 2, 4096);
    once('tasks', tasks);
    among('tasks', tasks, Object.keys(makers));
    const ascend = testLengths.every((length, i) => i === 0 || length > testLengths[i - 1]);
    each('testLengths', [testLengths], () => ascend, 'in ascending order');
    return tasks.map((task) => ({ key: task, at: { task, trainLength, testLengths } }));
  },

  setup({ task, trainLength, testLengths }, { vocabSize }) {
    const make = makers[task];
    return {
      task: make({ vocabSize, length: [1, trainLength] }),
      tests: testLengths.map((length) => make({ vocabSize, length })),
      position: { type: 'none' },
    };
  },

  keep: (learned) => learned,
  findings,
});

const RIGHT = 0.9;

/** Accuracy of each scored token of a test. */
function placesOf(rows: readonly LengthRow[], test: number) {
  return rows[0].places[test].map(({ place, distance }) => ({
    place,
    distance,
    share: spread(rows.map(({ places }) => places[test][place].accuracy)),
  }));
}

/** The first place whose mean is below 90 %, with its distance. */
function failingText(rows: readonly LengthRow[], test: number, length: number): string {
  const failing = placesOf(rows, test).find(({ share }) => share.mean < RIGHT);
  if (failing === undefined) return 'none';
  const { place, distance, share } = failing;
  const what = place === length ? 'the end mark' : `letter ${place + 1}, distance ${Math.round(distance)}`;
  return `${what}: ${percentText(share)}`;
}

function findings(config: LengthGeneralisationConfig, rows: LengthRow[]): Findings {
  const { tasks, testLengths, trainLength, training } = config;
  const last = testLengths.length - 1;
  const groups = tasks.flatMap((task) =>
    byLearner(where(rows, { task })).map(([learner, own]) => ({ task, learner, own })),
  );
  const letters = testLengths.map((length) => `${length} letters`);
  return {
    text: [
      ...groups.map(({ task, learner, own }) => {
        const shares = testLengths.map((length, i) => `${length}: ${percentText(right(own, 'tokens', i))}`);
        return `${task}, ${learnerLabel(learner)}, tokens right by length: ${shares.join(', ')}; of ${testLengths[last]} letters the first to fail: ${failingText(own, last, testLengths[last])}.`;
      }),
      `Trained on strings of 1 to ${trainLength} letters, tested on ${testLengths.join(', ')}. ${trainingText(training)}`,
    ],
    figures: tasks.flatMap((task) =>
      testLengths.flatMap((length, i) =>
        length < trainLength ? [] : [placeFigure(config, task, where(rows, { task }), length, i)],
      ),
    ),
    tables: tasks.flatMap((task) => {
      const own = byLearner(where(rows, { task }));
      return [
        {
          title: `${task}: whole strings right by length, %`,
          columns: ['learner', ...sizeColumns, ...letters],
          rows: own.map(([learner, runs]) => [
            learnerLabel(learner),
            ...sizeCells(runs),
            ...testLengths.map((_, i) => shareCell(runs, 'exact', i)),
          ]),
          caption: `Up to ${trainLength} letters were trained on.`,
        },
        {
          title: `${task}: tokens right by length, %`,
          columns: ['learner', ...letters],
          rows: own.map(([learner, runs]) => [
            learnerLabel(learner),
            ...testLengths.map((_, i) => shareCell(runs, 'tokens', i)),
          ]),
        },
        {
          title: `${task}: what fails first`,
          columns: ['learner', ...letters],
          rows: own.map(([learner, runs]) => [
            learnerLabel(learner),
            ...testLengths.map((length, i) => failingText(runs, i, length)),
          ]),
          caption: `The first place that is right in less than ${100 * RIGHT} % of the strings, mean over the seeds, with its distance in tokens to what it copies.`,
        },
      ];
    }),
    verdicts: [lengthVerdict, reachVerdict].flatMap((verdict) => verdict(config, rows)),
  };
}

function placeFigure(
  { trainLength, vocabSize }: LengthGeneralisationConfig,
  task: string,
  rows: readonly LengthRow[],
  length: number,
  test: number,
): Figure {
  return {
    title: `${task} of ${length} letters, letter by letter`,
    caption:
      `${SEEDS} Trained on at most ${trainLength} letters; one in ${vocabSize} is right by chance. ` +
      (task === 'copy'
        ? `Every letter stands ${length + 1} tokens behind its copy.`
        : `The i-th letter written stands 2 i tokens behind its copy.`),
    plot: fractionPlot({
      description: `${task} of ${length} letters: share right of each letter, a curve for each learner.`,
      xLabel: 'letter of the copy',
      yLabel: 'right',
      xScale: 'linear',
      xTicks: Array.from({ length }, (_, i) => i + 1),
      xFormat: String,
      xRange: [0.5, length + 0.5],
      series: learnerSeries(rows, (own) =>
        placesOf(own, test)
          .filter(({ place }) => place < length)
          .map(({ place, distance, share }) => ({
            x: place + 1,
            share,
            what: `letter ${place + 1}, distance ${distance}`,
          })),
      ),
    }),
  };
}

/** Every learner that copies at the trained lengths gets worse beyond them. */
function lengthVerdict(
  { testLengths, trainLength }: LengthGeneralisationConfig,
  rows: readonly LengthRow[],
): Verdict[] {
  const trained = testLengths.findLastIndex((length) => length <= trainLength);
  const longest = testLengths.length - 1;
  if (trained < 0 || trained === longest) return [];
  const found = [...groupBy(rows, ({ task, learner }) => `${task}, ${learnerLabel(learner)}`)].map(
    ([name, own]) => ({
      name,
      shares: [trained, longest].map((test) => right(own, 'tokens', test)),
    }),
  );
  const able = found.filter(({ shares }) => shares[0].mean >= RIGHT);
  const falls = able.filter(({ shares }) => shares[1].mean < RIGHT);
  return [
    {
      claim: 'L4',
      theory: 'What is learned on short strings fails on longer ones, for every mixer somewhere',
      measured: `Tokens right from ${testLengths[trained]} to ${testLengths[longest]} letters: ${found
        .map(({ name, shares }) => `${name}: ${shares.map(percentText).join(' to ')}`)
        .join('; ')}`,
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
  const shares = (own: readonly LengthRow[], from: number, to: number): Spread =>
    spread(own.map(({ places }) => meanOf(places[longest].slice(from, to).map(({ accuracy }) => accuracy))));
  const found = byLearner(
    where(rows, { task: 'reverse-copy' }).filter(({ learner }) => constantState(learner)),
  ).map(([learner, own]) => ({
    learner,
    near: shares(own, 0, half),
    far: shares(own, length - half, length),
  }));
  if (found.length === 0) return [];
  return [
    {
      claim: 'L4',
      theory: 'A state that forgets loses far letters before near ones',
      measured: `reverse-copy of ${length} letters, the nearer half and the farther half: ${found
        .map(
          ({ learner, near, far }) =>
            `${learnerLabel(learner)}: ${percentText(near)} and ${percentText(far)}`,
        )
        .join('; ')}`,
      agrees: agreementOfOrders(found.map(({ near, far }) => orderOf(near, far))),
    },
  ];
}
