/**
 * L2: multi-query associative recall (Arora et al. 2023, Zoology, https://arxiv.org/abs/2312.04927), with state against recall
 * as in Based (Arora et al. 2024, https://arxiv.org/abs/2402.18668).
 *
 * Every learner is trained on texts with all numbers of pairs, mixed, and tested at each: models that have few pairs to begin
 * with find recall, and go on from there.
 */
import { predictAccuracy, signCodebook } from '@freelunch/constructions';
import { mqar, random } from '@freelunch/tasks';
import { checksOf } from '../experiments/check.js';
import type { Figure, Findings, Verdict } from '../experiments/experiment.js';
import { capitalised, mixers } from '../mixers.js';
import { grouped, percentText } from '../report/format.js';
import { look } from '../report/look.js';
import { fractionPlot, type Series } from '../report/plot.js';
import { agreementOf, agreementOfOrders, orderOf } from '../report/statistics.js';
import {
  byLearner,
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

/** Softmax attention names its positions, as in `softmax@rope`: the others are given none. */
export interface LearnMqarConfig extends LearnConfig {
  /** Key-value pairs in a text: mixed in training, each tested apart. */
  pairs: number[];
  /** Tokens of a text: the same for all numbers of pairs, so that only they change. */
  seqLen: number;
  /** Filler, keys and values. */
  vocabSize: number;
}

const quick: LearnMqarConfig = {
  learners: [
    'softmax@rope/2',
    'linear',
    'gated-linear',
    'delta',
    'mamba:1',
    'mamba:2',
    'mamba:4',
    'mamba:8',
    'mamba:16',
    'mamba2:8',
    'hybrid:2/2',
  ],
  pairs: [1, 2, 4, 8],
  seqLen: 32,
  vocabSize: 20,
  training: {
    dModel: 32,
    nLayers: 1,
    nHeads: 1,
    expand: 1,
    mlp: 0,
    dConv: 4,
    embeddingStd: 0.5,
    batchSize: 32,
    steps: 1200,
    searchSteps: 400,
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
    'softmax@rope/2',
    'linear',
    'gated-linear',
    'delta',
    'mamba:1',
    'mamba:2',
    'mamba:4',
    'mamba:8',
    'mamba:16',
    'mamba:32',
    'mamba2:8',
    'mamba2:32',
    'hybrid:4/2',
  ],
  pairs: [4, 8, 16, 32, 64],
  seqLen: 256,
  vocabSize: 256,
  training: {
    ...quick.training,
    dModel: 64,
    steps: 10000,
    searchSteps: 3000,
    learningRates: [0.001, 0.003, 0.01],
    seeds: 5,
    evaluations: 15,
    testSamples: 512,
  },
};

export const learnMqar = learnExperiment<LearnMqarConfig, object & Record<string, never>, Run>({
  name: 'learn-mqar',
  summary: 'How much state does it take to learn to recall several values by their keys?',
  claims: ['L2'],
  presets: { quick, full },

  grid({ pairs, seqLen, vocabSize }) {
    const { whole, once, each } = checksOf('learn-mqar');
    const most = Math.max(...pairs);
    whole('pairs', pairs, 1, 1024);
    once('pairs', pairs);
    whole('seqLen', seqLen, 4 * most, 65536);
    each('seqLen', [seqLen], (length) => length % 2 === 0, 'even');
    whole('vocabSize', vocabSize, 2 * most + 2, 65536);
    return [{ key: pairs.length === 1 ? `${pairs[0]} pairs` : 'mixed pairs', at: {} }];
  },

  setup: (_, { pairs, seqLen, vocabSize }) => ({
    // Queries spread evenly: how far back a pair lies says nothing of how well it is kept.
    task: pairs.map((count) => mqar({ vocabSize, seqLen, pairs: count, power: 1 })),
    // Not learned ones: where a pair stands says nothing of where its key comes again.
    position: { type: 'none' },
  }),

  keep: withoutPlaces,
  findings,
});

/** Queries answered right after training, of a learner at each number of pairs. */
const answered = ({ pairs }: LearnMqarConfig, rows: readonly Run[], learner: string) => {
  const own = where(rows, { learner });
  return pairs.map((_, test) => right(own, 'tokens', test));
};

/** Values that a query can have. */
const valuesOf = (vocabSize: number) => vocabSize - Math.floor(vocabSize / 2);

function findings(config: LearnMqarConfig, rows: Run[]): Findings {
  const { learners, pairs, vocabSize, training } = config;
  return {
    text: [
      ...learners.map((learner) => {
        const shares = answered(config, rows, learner).map(
          (share, i) => `${pairs[i]} ${pairs[i] === 1 ? 'pair' : 'pairs'} ${percentText(share)}`,
        );
        return `${capitalised(learnerLabel(learner))}, queries answered right: ${shares.join(', ')}.`;
      }),
      `Texts of ${pairs.join(', ')} pairs are mixed in training, each as often as the others. ${trainingText(training)}`,
    ],
    figures: [stateFigure(config, rows)],
    tables: [
      {
        title: 'Queries answered right, %',
        columns: ['learner', ...sizeColumns, ...pairs.map((count) => `${count} pairs`), 'learning rate'],
        rows: byLearner(rows).map(([learner, own]) => [
          learnerLabel(learner),
          ...sizeCells(own),
          ...pairs.map((_, test) => shareCell(own, 'tokens', test)),
          String(own[0].learningRate),
        ]),
        caption: `Texts of ${config.seqLen} tokens with ${valuesOf(vocabSize)} possible values. A guess among the values in the text is right once in as many times as there are pairs.`,
      },
    ],
    verdicts: [stateVerdict, pairsVerdict, softmaxVerdict].flatMap((verdict) => verdict(config, rows)),
  };
}

/** Shares of a memory of N dimensions under random keys, whose values are told apart by `width` numbers (C1). */
function coherence(count: number, vocabSize: number, width: number): (N: number) => number {
  const values = valuesOf(vocabSize);
  const codebook = signCodebook(random(1), values, width);
  return predictAccuracy({ codebook, dValue: width, tokens: Array.from({ length: count }, (_, i) => i) });
}

function stateFigure(config: LearnMqarConfig, rows: readonly Run[]): Figure {
  const { learners, pairs, vocabSize, training } = config;
  const width = training.expand * training.dModel;
  const bits = Math.log2(valuesOf(vocabSize));
  const floats = rows.map(({ stateFloats }) => stateFloats);
  const xRange = [Math.min(...floats) / 1.3, Math.max(...floats) * 1.3] as const;
  // All states of Mamba make one curve.
  const curves = groupBy(learners, (learner) =>
    mambaState(learner) === undefined ? learnerLabel(learner) : mixers.mamba.name,
  );
  const states = learners.map(mambaState).filter((state) => state !== undefined);
  const floatsOf = (learner: string) => where(rows, { learner })[0].stateFloats;
  const series: Series[] = pairs.flatMap((count, test) => {
    const measured = [...curves].map(([name, own], j): Series => {
      const points = own
        .map((learner) => ({
          x: floatsOf(learner),
          share: answered(config, rows, learner)[test],
          title: `${learnerLabel(learner)}, ${count} pairs`,
        }))
        .sort((a, b) => a.x - b.x);
      const { line, ...marks } = curvePoints(points);
      return {
        name: `${name}, ${count} pairs`,
        colour: look(test).colour,
        shape: look(j).shape,
        ...marks,
        ...(points.length > 1 ? { line } : {}),
      };
    });
    const predicted = count <= valuesOf(vocabSize) ? coherence(count, vocabSize, width) : undefined;
    if (states.length < 2 || predicted === undefined || count < 2) return measured;
    const line = states
      .toSorted((a, b) => a - b)
      .map((N) => ({ x: floatsOf(`mamba:${N}`), y: predicted(N) }));
    const shape = look(0).shape;
    return [
      ...measured,
      { name: `random keys, ${count} pairs`, colour: look(test).colour, shape, line, dashed: true },
    ];
  });
  const most = Math.max(...pairs);
  return {
    title: 'Recall over the floats kept',
    caption:
      `${SEEDS} All after the last step. One in ${valuesOf(vocabSize)} answers is right by chance. Dashed: what a state of N slots gives under random keys (C1), at the ` +
      `floats of Mamba with this N. The information bound (C1) asks for ${Math.ceil((most * bits) / 32)} floats of 32 bits for ${most} pairs, left of all marks: nothing here is limited by it.`,
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

/** Mamba's states in order, with what each recalls. */
const mambas = (config: LearnMqarConfig, rows: readonly Run[]) =>
  config.learners
    .flatMap((learner) => {
      const state = mambaState(learner);
      return state === undefined ? [] : [{ state, learner, shares: answered(config, rows, learner) }];
    })
    .toSorted((a, b) => a.state - b.state);

/** Each state against the next larger one, at each number of pairs at which the smaller one does not recall everything. */
function stateVerdict(config: LearnMqarConfig, rows: readonly Run[]): Verdict[] {
  const found = mambas(config, rows);
  if (found.length < 2) return [];
  const orders: (1 | 0 | -1)[] = [];
  const measured = config.pairs.map((count, test) => {
    for (let i = 1; i < found.length; i++)
      if (found[i - 1].shares[test].mean < 0.99)
        orders.push(orderOf(found[i].shares[test], found[i - 1].shares[test]));
    return `${count} pairs: ${found.map(({ state, shares }) => `N = ${state} ${percentText(shares[test])}`).join(', ')}`;
  });
  return [
    {
      claim: 'L2',
      theory: 'Recall improves with the size of the state, from each one to the next that is tested',
      measured: `Mamba, ${measured.join('; ')}`,
      agrees: agreementOfOrders(orders),
    },
  ];
}

/** From each number of pairs to the next, for the states that do not recall everything at the most pairs. */
function pairsVerdict(config: LearnMqarConfig, rows: readonly Run[]): Verdict[] {
  const { pairs } = config;
  const limited = mambas(config, rows).filter(({ shares }) => shares.at(-1)!.mean < 0.99);
  if (limited.length === 0 || pairs.length < 2) return [];
  const orders = limited.flatMap(({ shares }) =>
    // Where both recall everything, there is no order.
    shares.slice(1).flatMap((share, i) => (share.mean >= 0.99 ? [] : [orderOf(shares[i], share)])),
  );
  return [
    {
      claim: 'L2',
      theory: 'With the same state, recall worsens as the number of pairs grows',
      measured: limited
        .map(({ learner, shares }) => `${learnerLabel(learner)}: ${shares.map(percentText).join(' to ')}`)
        .join('; '),
      agrees: agreementOfOrders(orders),
    },
  ];
}

function softmaxVerdict(config: LearnMqarConfig, rows: readonly Run[]): Verdict[] {
  const { learners, pairs } = config;
  const softmax = learners.find((learner) => /^softmax\b/.test(learner));
  if (softmax === undefined) return [];
  const shares = answered(config, rows, softmax);
  return [
    {
      claim: 'L2',
      theory: 'Softmax attention recalls whatever the number of pairs',
      measured: shares.map((share, i) => `${pairs[i]} pairs: ${percentText(share)}`).join('; '),
      agrees: agreementOf(shares.filter(({ mean }) => mean >= 0.99).length, pairs.length),
    },
  ];
}
