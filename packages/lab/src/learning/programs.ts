/**
 * L3: dynamic programs learned with chain of thought and without, after Feng et al. 2023 (https://arxiv.org/abs/2305.15408) and
 * Yang et al. 2024 (https://arxiv.org/abs/2402.13934). `local` is a chain that repeats the inputs of a step before its value.
 */
import { arithmetic, editDistance, lis, modularSum, parity, type Task } from '@freelunch/tasks';
import { checksOf } from '../experiments/check.js';
import type { Figure, Findings, Verdict } from '../experiments/experiment.js';
import { percentText } from '../report/format.js';
import { fractionPlot } from '../report/plot.js';
import { agreementOfOrders, orderOf } from '../report/statistics.js';
import {
  learnerSeries,
  right,
  SEEDS,
  shareCell,
  sizeCells,
  sizeColumns,
  trainingText,
  where,
} from './findings.js';
import { type LearnConfig, learnExperiment, type Run, withoutPlaces } from './learn-experiment.js';
import { constantState, learnerLabel } from './learners.js';

const formLabels = {
  direct: 'direct answers',
  cot: 'chain of thought',
  local: 'local chain of thought',
} as const;
type Form = keyof typeof formLabels;

/** dModel of the training is not used. */
export interface LearnDpConfig extends LearnConfig {
  /** `modular-sum`, `parity`, `lis`, `edit-distance` or `arithmetic`. */
  tasks: string[];
  /** Numbers, letters of the first string, or operators. */
  sizes: number[];
  /** `direct`: the answer alone; `cot`: all values before it; `local`: each value after the inputs that it needs. */
  forms: string[];
  dModels: number[];
  /** Modulus of modular-sum, prime field of arithmetic. */
  p: number;
}

type At = { task: string; size: number; form: Form; dModel: number };
type LearnDpRow = At & Run;

interface Problem {
  make(size: number, form: Form, p: number): Task;
  /** No text is longer, in tokens. */
  longest(size: number): number;
  /** Whether it has a local chain. */
  local: boolean;
}

const layout = (form: Form) =>
  ({ form: form === 'direct' ? 'direct' : 'cot', inputs: form === 'local' ? 'inline' : 'prompt' }) as const;

const problems: Readonly<Record<string, Problem>> = {
  'modular-sum': {
    make: (length, form, p) => modularSum({ p, length, ...layout(form) }),
    longest: (size) => 3 * size + 4,
    local: true,
  },
  parity: {
    make: (length, form) => parity({ length, ...layout(form) }),
    longest: (size) => 3 * size + 4,
    local: true,
  },
  lis: {
    make: (length, form) => lis({ length, numberRange: 2 * length + 10, ...layout(form) }),
    longest: (size) => 3 * size + 4,
    local: true,
  },
  'edit-distance': {
    make: (length, form) => editDistance({ length, using: 4, ...layout(form) }),
    longest: (size) => 2 * size + 4 + size * (3 * (size + 2) + 1) + 4,
    local: true,
  },
  arithmetic: {
    make: (length, form, p) => arithmetic({ length, p, order: 'canonical', form: layout(form).form }),
    // An operator adds itself, a number and at most two brackets; each expression is followed by a mark.
    longest: (size) => 2 * (size + 1) * (size + 1) + 2,
    local: false,
  },
};

const quick: LearnDpConfig = {
  learners: ['softmax', 'linear', 'mamba:16', 'mamba2:16', 'hybrid:16'],
  tasks: ['modular-sum'],
  sizes: [5, 10],
  forms: ['direct', 'cot', 'local'],
  dModels: [16, 32],
  p: 3,
  training: {
    dModel: 32,
    nLayers: 2,
    nHeads: 2,
    expand: 1,
    mlp: 64,
    dConv: 0,
    embeddingStd: 0.02,
    batchSize: 16,
    steps: 800,
    searchSteps: 300,
    learningRates: [0.003, 0.01],
    warmupSteps: 30,
    weightDecay: 0.01,
    seeds: 3,
    evaluations: 3,
    testSamples: 96,
  },
};

const full: LearnDpConfig = {
  learners: [
    'softmax',
    'window:8',
    'linear',
    'gated-linear',
    'delta',
    'mamba:16',
    'mamba:64',
    'mamba2:16',
    'hybrid:16',
  ],
  tasks: ['modular-sum', 'lis', 'edit-distance', 'arithmetic'],
  sizes: [4, 8],
  forms: ['direct', 'cot', 'local'],
  dModels: [32, 64],
  p: 7,
  training: {
    ...quick.training,
    mlp: 128,
    batchSize: 32,
    steps: 6000,
    searchSteps: 2000,
    learningRates: [0.001, 0.003, 0.01],
    evaluations: 10,
    testSamples: 512,
  },
};

/** The forms that a task has, of those asked for. */
const formsOf = (forms: readonly string[], task: string) =>
  (forms as Form[]).filter((form) => form !== 'local' || problems[task].local);

export const learnDp = learnExperiment<LearnDpConfig, At, Run>({
  name: 'learn-dp',
  summary: 'Which dynamic programs are learned with chain of thought, and which without?',
  claims: ['L3'],
  presets: { quick, full },

  grid({ tasks, sizes, forms, dModels, p }) {
    const { whole, once, among } = checksOf('learn-dp');
    whole('sizes', sizes, 3, 1024);
    whole('dModels', dModels, 1, 4096);
    whole('p', p, 2, 4096);
    for (const [name, values] of Object.entries({ tasks, forms, sizes, dModels })) once(name, values);
    among('tasks', tasks, Object.keys(problems));
    among('forms', forms, Object.keys(formLabels));
    return tasks.flatMap((task) =>
      formsOf(forms, task).flatMap((form) =>
        sizes.flatMap((size) =>
          dModels.map((dModel) => ({
            key: `${task} ${size}, ${form}, dModel ${dModel}`,
            at: { task, size, form, dModel },
            training: { dModel },
          })),
        ),
      ),
    );
  },

  setup: ({ task, size, form }, { p }) => ({
    task: problems[task].make(size, form, p),
    position: { type: 'learned', maxLength: problems[task].longest(size) },
  }),

  keep: withoutPlaces,
  findings,
});

/** Shares of problems wholly right after training: chain and answer, or answer. */
const solved = (rows: readonly LearnDpRow[], at: Partial<LearnDpRow>) => right(where(rows, at), 'exact');

function findings(config: LearnDpConfig, rows: LearnDpRow[]): Findings {
  const { tasks, sizes, dModels, learners, forms, training } = config;
  const widest = Math.max(...dModels);
  return {
    text: [
      ...tasks.flatMap((task) =>
        learners.map((learner) => {
          const shares = formsOf(forms, task).map((form) => {
            const bySize = sizes.map((size) =>
              percentText(solved(rows, { task, size, form, dModel: widest, learner })),
            );
            return `${formLabels[form]} ${bySize.join(', ')}`;
          });
          return `${task} of ${sizes.length === 1 ? 'size' : 'sizes'} ${sizes.join(', ')}, ${learnerLabel(learner)}, dModel ${widest}: ${shares.join('; ')}.`;
        }),
      ),
      'With a chain of thought, a problem counts as right only if every value of the chain and the answer are right. A local chain repeats the inputs of each step before its value.',
      trainingText({ ...training, dModel: widest }) +
        (dModels.length > 1 ? ` The widths were dModel = ${dModels.join(', ')}.` : ''),
    ],
    figures:
      sizes.length < 2
        ? []
        : tasks.flatMap((task) => formsOf(forms, task).map((form) => sizeFigure(config, rows, task, form))),
    tables: tasks.map((task) => {
      const columns = formsOf(forms, task).flatMap((form) => sizes.map((size) => ({ form, size })));
      return {
        title: `${task}: problems wholly right, %`,
        columns: ['learner, dModel', ...sizeColumns, ...columns.map(({ form, size }) => `${form}, ${size}`)],
        rows: learners.flatMap((learner) =>
          dModels.map((dModel) => {
            const own = where(rows, { task, learner, dModel });
            return [
              `${learnerLabel(learner)}, ${dModel}`,
              ...sizeCells(own),
              ...columns.map((column) => shareCell(where(own, column), 'exact')),
            ];
          }),
        ),
        caption: 'Columns: form and size. Weights and floats kept are those of the longest text.',
      };
    }),
    verdicts: [thoughtVerdict, localVerdict].flatMap((verdict) => verdict(config, rows)),
  };
}

function sizeFigure(
  { sizes, dModels }: LearnDpConfig,
  rows: readonly LearnDpRow[],
  task: string,
  form: Form,
): Figure {
  const dModel = Math.max(...dModels);
  return {
    title: `${task}, ${formLabels[form]}`,
    caption: `${SEEDS} dModel = ${dModel}.`,
    plot: fractionPlot({
      description: `${task}, ${formLabels[form]}: problems wholly right over their size, a curve for each learner.`,
      xLabel: 'size of the problem (logarithmic)',
      yLabel: 'problems wholly right',
      xTicks: sizes,
      xFormat: String,
      xRange: [Math.min(...sizes) / 1.1, Math.max(...sizes) * 1.1],
      series: learnerSeries(where(rows, { task, form, dModel }), (own) =>
        sizes
          .toSorted((a, b) => a - b)
          .map((size) => ({ x: size, share: solved(own, { size }), what: `size ${size}` })),
      ),
    }),
  };
}

/** At the largest size and width, all learners of all tasks: their shares in two forms, and the order of these. */
function compared(
  config: LearnDpConfig,
  tasks: readonly string[],
  learners: readonly string[],
  order: (at: { task: string; share: (form: Form) => ReturnType<typeof solved> }) => {
    shares: readonly ReturnType<typeof solved>[];
    order?: 1 | 0 | -1;
  },
  rows: readonly LearnDpRow[],
) {
  const size = Math.max(...config.sizes);
  const dModel = Math.max(...config.dModels);
  const orders: (1 | 0 | -1)[] = [];
  const measured = tasks.flatMap((task) =>
    learners.map((learner) => {
      const share = (form: Form) => solved(rows, { task, size, dModel, learner, form });
      const found = order({ task, share });
      if (found.order !== undefined) orders.push(found.order);
      return `${task}, ${learnerLabel(learner)}: ${found.shares.map(percentText).join(' to ')}`;
    }),
  );
  return {
    at: `Size ${size}, dModel ${dModel}`,
    measured: measured.join('; '),
    agrees: agreementOfOrders(orders),
  };
}

/** The better of the two chains against direct answers, at the largest size and width. */
function thoughtVerdict(config: LearnDpConfig, rows: readonly LearnDpRow[]): Verdict[] {
  const { tasks, learners, forms } = config;
  if (!forms.includes('direct') || forms.length < 2) return [];
  const { at, measured, agrees } = compared(
    config,
    tasks,
    learners,
    ({ task, share }) => {
      const direct = share('direct');
      const [best] = formsOf(forms, task)
        .filter((form) => form !== 'direct')
        .map(share)
        .sort((a, b) => b.mean - a.mean);
      return best === undefined
        ? { shares: [direct] }
        : { shares: [direct, best], order: orderOf(best, direct) };
    },
    rows,
  );
  return [
    {
      claim: 'L3',
      theory: 'Programs that are not learned with direct answers are learned with a chain of thought',
      measured: `${at}, from direct answers to the better chain: ${measured}`,
      agrees,
    },
  ];
}

/** A local chain helps the mixers whose state is constant; softmax attention does not need it. */
function localVerdict(config: LearnDpConfig, rows: readonly LearnDpRow[]): Verdict[] {
  const constant = config.learners.filter(constantState);
  const tasks = config.tasks.filter((task) => problems[task].local);
  if (!config.forms.includes('cot') || !config.forms.includes('local')) return [];
  if (constant.length === 0 || tasks.length === 0) return [];
  const { at, measured, agrees } = compared(
    config,
    tasks,
    constant,
    ({ share }) => {
      const [cot, local] = [share('cot'), share('local')];
      return { shares: [cot, local], ...(cot.mean < 0.99 ? { order: orderOf(local, cot) } : {}) };
    },
    rows,
  );
  return [
    {
      claim: 'L3',
      theory:
        'Mixers with a constant state learn a chain that repeats its inputs better than one that must look them up far back',
      measured: `${at}, from the plain to the local chain: ${measured}`,
      agrees,
    },
  ];
}
