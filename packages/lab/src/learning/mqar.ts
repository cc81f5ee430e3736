/** L2: multi-query associative recall, after figure 2 of Zoology (Arora et al. 2023, https://arxiv.org/abs/2312.04927). */
import { mqar } from '@freelunch/tasks';
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
  mambaState,
  orderOf,
  percentText,
  trainingText,
  withoutPlaces,
} from './findings.js';
import { fractionPlot, type Series } from '../report/plot.js';

export interface LearnMqarConfig {
  /** Softmax attention with positions of its own, as `softmax@rope`: the others are given none. */
  learners: string[];
  /** Depths that each learner is trained at; what counts is the one with the least loss on samples kept apart. */
  layers: number[];
  /** Key-value pairs in a text. */
  pairs: number[];
  /** Tokens of a text: the same for all numbers of pairs, so that only they change. */
  seqLen: number;
  /** Filler, keys and values. */
  vocabSize: number;
  /** Its nLayers is not used. */
  training: Training;
}

interface LearnMqarPiece extends Piece {
  learner: string;
  pairs: number;
  seqLen: number;
  vocabSize: number;
  training: Training;
}

type LearnMqarRow = Omit<Learned, 'places'> & { pairs: number; nLayers: number };

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

export const learnMqar: Experiment<LearnMqarConfig, LearnMqarPiece, LearnMqarRow> = {
  name: 'learn-mqar',
  summary: 'How much state does it take to learn to recall several values by their keys?',
  claims: ['L2'],
  presets: { quick, full },

  pieces({ learners, layers, pairs, seqLen, vocabSize, training }) {
    checkWhole('learn-mqar', 'pairs', pairs);
    checkOnce('learn-mqar', 'learners', learners);
    checkWhole('learn-mqar', 'layers', layers);
    const most = Math.max(...pairs);
    checkTraining('learn-mqar', learners, { ...training, nLayers: Math.max(...layers) });
    if (!(seqLen >= 4 * most && seqLen % 2 === 0))
      throw new InputError(
        `learn-mqar: seqLen must be even and at least 4 pairs = ${4 * most}, got ${seqLen}`,
      );
    if (!(vocabSize >= 2 * most + 2))
      throw new InputError(
        `learn-mqar: vocabSize must be at least 2 pairs + 2 = ${2 * most + 2}, got ${vocabSize}`,
      );
    return pairs.flatMap((count) =>
      layers.flatMap((nLayers) =>
        learners
          .filter((learner) => nLayers > 1 || !learner.startsWith('hybrid')) // a hybrid has two kinds of layers
          .map((learner) => ({
            key: `${count} pairs, ${nLayers === 1 ? '1 layer' : `${nLayers} layers`}, ${learner}`,
            learner,
            pairs: count,
            seqLen,
            vocabSize,
            training: { ...training, nLayers },
          })),
      ),
    );
  },

  async run({ learner, pairs, seqLen, vocabSize, training }, context) {
    const task = mqar({ vocabSize, seqLen, pairs });
    // No learned positions: where a pair stands says nothing of where its key comes again. With them Mamba stayed at chance.
    const position = { type: 'none' } as const;
    const setup = { learner, position, task: trainingSide(task), tests: [testSide(task)], training };
    return withoutPlaces(await learn(setup, context)).map((row) => ({
      pairs,
      nLayers: training.nLayers,
      ...row,
    }));
  },

  findings,
};

/**
 * The rows of a learner at a number of pairs, at the depth whose models have the least loss on samples kept apart: after all
 * steps, for in a short search most of them stand on the plateau before recall begins, where a difference means nothing.
 */
function best(rows: readonly LearnMqarRow[], learner: string, pairs: number): LearnMqarRow[] {
  const own = rows.filter((row) => row.learner === learner && row.pairs === pairs);
  const loss = (some: readonly LearnMqarRow[]) => estimate(some.map((row) => row.loss)).mean;
  return [...groupBy(own, ({ nLayers }) => String(nLayers)).values()].reduce((a, b) =>
    loss(b) < loss(a) ? b : a,
  );
}

/** Queries answered right at the end, of a learner at a number of pairs. */
const answered = (rows: readonly LearnMqarRow[], learner: string, pairs: number) =>
  estimate(finals(best(rows, learner, pairs), 'tokens'));

function findings(config: LearnMqarConfig, rows: LearnMqarRow[]): Findings {
  const { learners, pairs, vocabSize } = config;
  const values = vocabSize - Math.floor(vocabSize / 2);
  return {
    text: [
      trainingText({ ...config.training, nLayers: Math.max(...config.layers) }) +
        (config.layers.length > 1
          ? ` Every learner was trained with ${config.layers.join(' and ')} layers; what counts is the depth with the least loss on samples kept apart, after all steps.`
          : ''),
      ...learners.map((learner) => {
        const shares = pairs.map(
          (count) => `${count} pairs ${percentText(answered(rows, learner, count))} %`,
        );
        return `${learnerLabel(learner)}, queries answered right: ${shares.join(', ')}.`;
      }),
    ],
    figures: [stateFigure(config, rows, values)],
    tables: [
      {
        title: 'Queries answered right, %',
        columns: [
          'learner, layers',
          'weights',
          'floats kept',
          ...pairs.map((count) => `${count} pairs`),
          'learning rates',
        ],
        rows: [...groupBy(rows, ({ learner, nLayers }) => `${learnerLabel(learner)}, ${nLayers}`)].map(
          ([name, own]) => {
            const at = (count: number) => own.filter((row) => row.pairs === count);
            return [
              name,
              grouped(own[0].parameters),
              grouped(own[0].stateFloats),
              ...pairs.map((count) => {
                const counts = best(rows, own[0].learner, count)[0].nLayers === own[0].nLayers;
                return percentText(estimate(finals(at(count), 'tokens'))) + (counts ? ' *' : '');
              }),
              pairs.map((count) => at(count)[0].learningRate).join(', '),
            ];
          },
        ),
        caption: `* The depth that counts. Texts of ${config.seqLen} tokens, ${values} values to choose from: a guess among those that the text has is right in one of as many cases as it has pairs.`,
      },
    ],
    verdicts: [...stateVerdict(config, rows), ...pairsVerdict(config, rows), ...softmaxVerdict(config, rows)],
  };
}

function stateFigure(config: LearnMqarConfig, rows: readonly LearnMqarRow[], values: number): Figure {
  const floats = rows.map(({ stateFloats }) => stateFloats);
  const xRange = [Math.min(...floats) / 1.3, Math.max(...floats) * 1.3] as const;
  const kinds = (learner: string) => (mambaState(learner) === undefined ? learner : 'mamba');
  const series: Series[] = config.pairs.flatMap((count, i) =>
    [...groupBy(config.learners, kinds)].map(([kind, learners]) => {
      const points = learners
        .map((learner) => {
          const share = answered(rows, learner, count);
          return {
            x: best(rows, learner, count)[0].stateFloats,
            y: share.mean,
            error: share.half,
            title: `${learnerLabel(learner)}, ${count} pairs: ${percentText(share)} %`,
          };
        })
        .sort((a, b) => a.x - b.x);
      const name = kind === 'mamba' ? 'Mamba' : learnerLabel(kind);
      return {
        name: `${name}, ${count} pairs`,
        colour: look(i).colour,
        shape: look([...new Set(config.learners.map(kinds))].indexOf(kind)).shape,
        points,
        line: points.length > 1 ? points.map(({ x, y }) => ({ x, y })) : undefined,
      };
    }),
  );
  return {
    title: 'Recall against the floats that are kept',
    caption: `Mean over seeds with its 95 % interval, after the last step. One in ${values} answers is right by chance.`,
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

/** The smallest and the largest dState of Mamba. */
function ends(config: LearnMqarConfig): [number, number] | undefined {
  const states = config.learners.map(mambaState).filter((state) => state !== undefined);
  return states.length < 2 ? undefined : [Math.min(...states), Math.max(...states)];
}

function stateVerdict(config: LearnMqarConfig, rows: readonly LearnMqarRow[]): Verdict[] {
  const range = ends(config);
  if (range === undefined) return [];
  const [small, large] = range;
  // Where the smallest recalls all there is nothing to gain.
  const open = config.pairs.filter((count) => answered(rows, `mamba:${small}`, count).mean < 0.99);
  const orders = open.map((count) =>
    orderOf(answered(rows, `mamba:${large}`, count), answered(rows, `mamba:${small}`, count)),
  );
  const measured = config.pairs.map(
    (count) =>
      `${count} pairs: ${percentText(answered(rows, `mamba:${small}`, count))} % to ${percentText(answered(rows, `mamba:${large}`, count))} %`,
  );
  return [
    {
      claim: 'L2',
      theory: 'Recall gets better with the state',
      measured: `Mamba from N = ${small} to N = ${large}, ${measured.join('; ')}`,
      agrees: agreementOfOrders(orders),
    },
  ];
}

function pairsVerdict({ learners, pairs }: LearnMqarConfig, rows: readonly LearnMqarRow[]): Verdict[] {
  const mambas = learners.filter((learner) => mambaState(learner) !== undefined);
  if (mambas.length === 0 || pairs.length < 2) return [];
  const [few, many] = [Math.min(...pairs), Math.max(...pairs)];
  const orders = mambas.map((learner) =>
    orderOf(answered(rows, learner, few), answered(rows, learner, many)),
  );
  const measured = mambas.map(
    (learner) =>
      `${learnerLabel(learner)} ${percentText(answered(rows, learner, few))} % to ${percentText(answered(rows, learner, many))} %`,
  );
  return [
    {
      claim: 'L2',
      theory: 'At the same state, recall gets worse with the number of pairs',
      measured: `From ${few} to ${many} pairs: ${measured.join('; ')}`,
      agrees: agreementOfOrders(orders),
    },
  ];
}

function softmaxVerdict({ learners, pairs }: LearnMqarConfig, rows: readonly LearnMqarRow[]): Verdict[] {
  const softmax = learners.find((learner) => learner.split('@')[0] === 'softmax');
  if (softmax === undefined) return [];
  const good = pairs.filter((count) => answered(rows, softmax, count).mean >= 0.99);
  return [
    {
      claim: 'L2',
      theory: 'Softmax attention recalls whatever the number of pairs',
      measured: pairs
        .map((count) => `${count} pairs: ${percentText(answered(rows, softmax, count))} %`)
        .join('; '),
      agrees: agreementOf(good.length, pairs.length),
    },
  ];
}
