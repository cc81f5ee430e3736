/** L2: multi-query associative recall, after figure 2 of Zoology (Arora et al. 2023, https://arxiv.org/abs/2312.04927). */
import { mqar } from '@freelunch/tasks';
import { checksOf } from '../experiments/check.js';
import type { Figure, Findings, Verdict } from '../experiments/experiment.js';
import { capitalised, mixers } from '../mixers.js';
import { grouped, percentText } from '../report/format.js';
import { look } from '../report/look.js';
import { fractionPlot, type Series } from '../report/plot.js';
import { agreementOf, agreementOfOrders, meanOf, orderOf } from '../report/statistics.js';
import {
  curvePoints,
  groupBy,
  right,
  SEEDS,
  shareCell,
  sizeCells,
  sizeColumns,
  trainingText,
  where,
} from './findings.js';
import { type LearnConfig, learnExperiment, type Run, withoutPlaces } from './learn-experiment.js';
import { learnerLabel, mambaState } from './learners.js';

/** Softmax attention names its positions, as in `softmax@rope`: the others are given none. nLayers of the training is not used. */
export interface LearnMqarConfig extends LearnConfig {
  /** Depths that each learner is trained at; what counts is the one with the least loss on samples kept apart. */
  layers: number[];
  /** Key-value pairs in a text. */
  pairs: number[];
  /** Tokens of a text: the same for all numbers of pairs, so that only they change. */
  seqLen: number;
  /** Filler, keys and values. */
  vocabSize: number;
}

type At = { pairs: number; nLayers: number };
type LearnMqarRow = At & Run;

const quick: LearnMqarConfig = {
  learners: ['softmax@rope', 'mamba:2', 'mamba:8', 'mamba:32'],
  layers: [1, 2],
  pairs: [2, 4, 8],
  seqLen: 32,
  vocabSize: 20,
  training: {
    dModel: 32,
    nLayers: 2,
    nHeads: 2,
    expand: 1,
    mlp: 0,
    batchSize: 16,
    steps: 1500,
    searchSteps: 600,
    learningRates: [0.003, 0.01],
    warmupSteps: 50,
    weightDecay: 0.01,
    seeds: 3,
    evaluations: 6,
    testSamples: 128,
  },
};

const full: LearnMqarConfig = {
  learners: [
    'softmax@rope',
    'linear',
    'mamba:2',
    'mamba:4',
    'mamba:8',
    'mamba:16',
    'mamba:32',
    'mamba:64',
    'mamba2:16',
    'hybrid:16',
  ],
  layers: [1, 2],
  pairs: [4, 8, 16, 32],
  seqLen: 128,
  vocabSize: 256,
  training: {
    ...quick.training,
    dModel: 64,
    batchSize: 32,
    steps: 15000,
    searchSteps: 5000,
    learningRates: [0.001, 0.003, 0.01],
    seeds: 3,
    evaluations: 15,
    testSamples: 512,
  },
};

export const learnMqar = learnExperiment<LearnMqarConfig, At, Run>({
  name: 'learn-mqar',
  summary: 'How much state does it take to learn to recall several values by their keys?',
  claims: ['L2'],
  presets: { quick, full },

  grid({ learners, layers, pairs, seqLen, vocabSize }) {
    const { whole, once, each } = checksOf('learn-mqar');
    const most = Math.max(...pairs);
    whole('pairs', pairs, 1, 1024);
    whole('layers', layers, 1, 64);
    once('pairs', pairs);
    once('layers', layers);
    whole('seqLen', seqLen, 4 * most, 65536);
    each('seqLen', [seqLen], (length) => length % 2 === 0, 'even');
    whole('vocabSize', vocabSize, 2 * most + 2, 65536);
    const deep = Math.max(...layers) > 1;
    return pairs.flatMap((count) =>
      layers.map((nLayers) => ({
        key: `${count} pairs, ${nLayers === 1 ? '1 layer' : `${nLayers} layers`}`,
        at: { pairs: count, nLayers },
        training: { nLayers },
        // A hybrid has two kinds of layers.
        learners: learners.filter((learner) => nLayers > 1 || !deep || !learner.startsWith('hybrid')),
      })),
    );
  },

  setup: ({ pairs }, { seqLen, vocabSize }) => ({
    task: mqar({ vocabSize, seqLen, pairs }),
    // Not learned ones: where a pair stands says nothing of where its key comes again. With them Mamba stayed at chance.
    position: { type: 'none' },
  }),

  keep: withoutPlaces,
  findings,
});

/**
 * The rows of a learner at a number of pairs, at the depth whose models have the least loss on samples kept apart: after all
 * steps, for in a short search most of them stand on the plateau before recall begins, where a difference means nothing.
 */
function best(rows: readonly LearnMqarRow[], learner: string, pairs: number): LearnMqarRow[] {
  const loss = (some: readonly LearnMqarRow[]) => meanOf(some.map((row) => row.loss));
  return [...groupBy(where(rows, { learner, pairs }), ({ nLayers }) => String(nLayers)).values()].reduce(
    (a, b) => (loss(b) < loss(a) ? b : a),
  );
}

/** Queries answered right after training, of a learner at a number of pairs. */
const answered = (rows: readonly LearnMqarRow[], learner: string, pairs: number) =>
  right(best(rows, learner, pairs), 'tokens');

function findings(config: LearnMqarConfig, rows: LearnMqarRow[]): Findings {
  const { learners, pairs, layers, vocabSize, training } = config;
  const values = vocabSize - Math.floor(vocabSize / 2);
  return {
    text: [
      ...learners.map((learner) => {
        const shares = pairs.map((count) => `${count} pairs ${percentText(answered(rows, learner, count))}`);
        return `${capitalised(learnerLabel(learner))}, queries answered right: ${shares.join(', ')}.`;
      }),
      trainingText({ ...training, nLayers: Math.max(...layers) }) +
        (layers.length > 1
          ? ` Every learner was trained with ${layers.join(' and ')} layers; what counts is the depth with the least loss, after all steps, on samples kept apart.`
          : ''),
    ],
    figures: [stateFigure(config, rows, values)],
    tables: [
      {
        title: 'Queries answered right, %',
        columns: [
          'learner, layers',
          ...sizeColumns,
          ...pairs.map((count) => `${count} pairs`),
          'learning rates',
        ],
        rows: [...groupBy(rows, ({ learner, nLayers }) => `${learnerLabel(learner)}, ${nLayers}`)].map(
          ([name, own]) => {
            const [{ learner, nLayers }] = own;
            const cells = pairs.map((count) => {
              const counts = best(rows, learner, count)[0].nLayers === nLayers;
              return shareCell(where(own, { pairs: count }), 'tokens') + (counts ? ' *' : '');
            });
            const rates = pairs.map((count) => where(own, { pairs: count })[0].learningRate);
            return [name, ...sizeCells(own), ...cells, rates.join(', ')];
          },
        ),
        caption: `* The depth that counts. Texts of ${config.seqLen} tokens with ${values} possible values. A guess among the values in the text is right once in as many times as there are pairs.`,
      },
    ],
    verdicts: [stateVerdict, pairsVerdict, softmaxVerdict].flatMap((verdict) => verdict(config, rows)),
  };
}

function stateFigure(config: LearnMqarConfig, rows: readonly LearnMqarRow[], values: number): Figure {
  const floats = rows.map(({ stateFloats }) => stateFloats);
  const xRange = [Math.min(...floats) / 1.3, Math.max(...floats) * 1.3] as const;
  // All states of Mamba make one curve.
  const curves = groupBy(config.learners, (learner) =>
    mambaState(learner) === undefined ? learnerLabel(learner) : mixers.mamba.name,
  );
  const series: Series[] = config.pairs.flatMap((count, i) =>
    [...curves].map(([name, learners], j) => {
      const points = learners
        .map((learner) => ({
          x: best(rows, learner, count)[0].stateFloats,
          share: answered(rows, learner, count),
          title: `${learnerLabel(learner)}, ${count} pairs`,
        }))
        .sort((a, b) => a.x - b.x);
      const { line, ...marks } = curvePoints(points);
      return {
        name: `${name}, ${count} pairs`,
        colour: look(i).colour,
        shape: look(j).shape,
        ...marks,
        ...(points.length > 1 ? { line } : {}),
      };
    }),
  );
  return {
    title: 'Recall over the floats kept',
    caption: `${SEEDS} All after the last step. One in ${values} answers is right by chance.`,
    plot: fractionPlot({
      description:
        'Queries answered right over the floats kept between tokens, a curve for each number of pairs.',
      xLabel: 'floats kept for one sequence (logarithmic)',
      yLabel: 'queries answered right',
      xTicks: Array.from({ length: 24 }, (_, i) => 2 ** i).filter((x) => x >= xRange[0] && x <= xRange[1]),
      xFormat: grouped,
      xRange,
      series,
    }),
  };
}

function stateVerdict({ learners, pairs }: LearnMqarConfig, rows: readonly LearnMqarRow[]): Verdict[] {
  const states = learners.map(mambaState).filter((state) => state !== undefined);
  if (states.length < 2) return [];
  const ends = [Math.min(...states), Math.max(...states)];
  const orders: (1 | 0 | -1)[] = [];
  const measured = pairs.map((count) => {
    const [small, large] = ends.map((N) => answered(rows, `mamba:${N}`, count));
    // Where the smallest recalls everything, there is nothing to gain.
    if (small.mean < 0.99) orders.push(orderOf(large, small));
    return `${count} pairs: ${percentText(small)} to ${percentText(large)}`;
  });
  return [
    {
      claim: 'L2',
      theory: 'Recall improves with the size of the state',
      measured: `Mamba from N = ${ends[0]} to N = ${ends[1]}, ${measured.join('; ')}`,
      agrees: agreementOfOrders(orders),
    },
  ];
}

function pairsVerdict({ learners, pairs }: LearnMqarConfig, rows: readonly LearnMqarRow[]): Verdict[] {
  const mambas = learners.filter((learner) => mambaState(learner) !== undefined);
  if (mambas.length === 0 || pairs.length < 2) return [];
  const ends = [Math.min(...pairs), Math.max(...pairs)];
  const found = mambas.map((learner) => ({
    learner,
    shares: ends.map((count) => answered(rows, learner, count)),
  }));
  return [
    {
      claim: 'L2',
      theory: 'With the same state, recall worsens as the number of pairs grows',
      measured: `From ${ends[0]} to ${ends[1]} pairs: ${found
        .map(({ learner, shares }) => `${learnerLabel(learner)}: ${shares.map(percentText).join(' to ')}`)
        .join('; ')}`,
      agrees: agreementOfOrders(found.map(({ shares: [few, many] }) => orderOf(few, many))),
    },
  ];
}

function softmaxVerdict({ learners, pairs }: LearnMqarConfig, rows: readonly LearnMqarRow[]): Verdict[] {
  const softmax = learners.find((learner) => learner.split('@')[0] === 'softmax');
  if (softmax === undefined) return [];
  const shares = pairs.map((count) => answered(rows, softmax, count));
  return [
    {
      claim: 'L2',
      theory: 'Softmax attention recalls whatever the number of pairs',
      measured: shares.map((share, i) => `${pairs[i]} pairs: ${percentText(share)}`).join('; '),
      agrees: agreementOf(shares.filter(({ mean }) => mean >= 0.99).length, pairs.length),
    },
  ];
}
