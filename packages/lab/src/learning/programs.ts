/**
 * L3: dynamic programs learned with chain of thought and without, after Feng et al. 2023 (https://arxiv.org/abs/2305.15408) and
 * Yang et al. 2024 (https://arxiv.org/abs/2402.13934). `local` is a chain that repeats the inputs of a step before its value.
 */
import { arithmetic, editDistance, lis, modularSum, parity, type Task } from '@freelunch/tasks';
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
  agreementOfOrders,
  checkOnce,
  checkWhole,
  type Estimate,
  estimate,
  finals,
  look,
  orderOf,
  percentText,
  trainingText,
  withoutPlaces,
} from './findings.js';
import { fractionPlot, type Series } from '../report/plot.js';

type Form = 'direct' | 'cot' | 'local';

export interface LearnDpConfig {
  learners: string[];
  /** `modular-sum`, `parity`, `lis`, `edit-distance` or `arithmetic`. */
  tasks: string[];
  /** Numbers, letters of the first string, or operators. */
  sizes: number[];
  /** `direct`: the answer alone; `cot`: all values before it; `local`: each value after the inputs that it needs. */
  forms: string[];
  dModels: number[];
  /** Modulus of modular-sum, prime field of arithmetic. */
  p: number;
  /** Its dModel is not used. */
  training: Training;
}

interface LearnDpPiece extends Piece {
  learner: string;
  task: string;
  size: number;
  form: Form;
  p: number;
  training: Training;
}

type LearnDpRow = Omit<Learned, 'places'> & { task: string; size: number; form: Form; dModel: number };

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

export const learnDp: Experiment<LearnDpConfig, LearnDpPiece, LearnDpRow> = {
  name: 'learn-dp',
  summary: 'Which dynamic programs are learned with chain of thought, and which without?',
  claims: ['L3'],
  presets: { quick, full },

  pieces({ learners, tasks, sizes, forms, dModels, p, training }) {
    const where = 'learn-dp';
    checkWhole(where, 'sizes', sizes, 3);
    checkWhole(where, 'dModels', dModels);
    checkWhole(where, 'p', [p], 2);
    for (const [name, values] of Object.entries({ learners, tasks, forms })) checkOnce(where, name, values);
    const unknown = tasks.find((task) => !Object.hasOwn(problems, task));
    if (unknown !== undefined)
      throw new InputError(
        `${where}: tasks must be of ${Object.keys(problems).join(', ')}, got '${unknown}'`,
      );
    const noForm = forms.find((form) => !['direct', 'cot', 'local'].includes(form));
    if (noForm !== undefined)
      throw new InputError(`${where}: forms must be of direct, cot, local, got '${noForm}'`);
    for (const dModel of dModels) checkTraining(where, learners, { ...training, dModel });
    return tasks.flatMap((task) =>
      (forms as Form[])
        .filter((form) => form !== 'local' || problems[task].local)
        .flatMap((form) =>
          sizes.flatMap((size) =>
            dModels.flatMap((dModel) =>
              learners.map((learner) => ({
                key: `${task} ${size}, ${form}, dModel ${dModel}, ${learner}`,
                learner,
                task,
                size,
                form,
                p,
                training: { ...training, dModel },
              })),
            ),
          ),
        ),
    );
  },

  async run({ learner, task: name, size, form, p, training }, context) {
    const { make, longest } = problems[name];
    const task = make(size, form, p);
    const position = { type: 'learned', maxLength: longest(size) } as const;
    const setup = { learner, position, task: trainingSide(task), tests: [testSide(task)], training };
    return withoutPlaces(await learn(setup, context)).map((row) => ({
      task: name,
      size,
      form,
      dModel: training.dModel,
      ...row,
    }));
  },

  findings,
};

const formLabels: Readonly<Record<Form, string>> = {
  direct: 'direct answers',
  cot: 'chain of thought',
  local: 'local chain of thought',
};

/** Shares of problems wholly right at the end: chain and answer, or answer. */
function solved(
  rows: readonly LearnDpRow[],
  at: Partial<Pick<LearnDpRow, 'task' | 'size' | 'form' | 'dModel' | 'learner'>>,
): Estimate {
  const own = rows.filter((row) =>
    (Object.keys(at) as (keyof typeof at)[]).every((name) => row[name] === at[name]),
  );
  return estimate(finals(own, 'exact'));
}

function findings(config: LearnDpConfig, rows: LearnDpRow[]): Findings {
  const { tasks, sizes, dModels } = config;
  const widest = Math.max(...dModels);
  const forms = (task: string) =>
    (config.forms as Form[]).filter((form) => form !== 'local' || problems[task].local);
  return {
    text: [
      trainingText({ ...config.training, dModel: widest }) +
        (dModels.length > 1 ? ` The widths were dModel = ${dModels.join(', ')}.` : ''),
      'With a chain of thought a problem counts as right only if every value of the chain and the answer are; a direct answer, if it is.',
      ...tasks.flatMap((task) =>
        config.learners.map((learner) => {
          const shares = forms(task).map(
            (form) =>
              `${formLabels[form]} ${sizes.map((size) => `${percentText(solved(rows, { task, size, form, dModel: widest, learner }))} %`).join(', ')}`,
          );
          return `${task} of sizes ${sizes.join(', ')}, ${learnerLabel(learner)}, dModel ${widest}: ${shares.join('; ')}.`;
        }),
      ),
    ],
    figures:
      sizes.length < 2
        ? []
        : tasks.flatMap((task) => forms(task).map((form) => sizeFigure(config, rows, task, form))),
    tables: tasks.map((task) => ({
      title: `${task}: problems wholly right, %`,
      columns: [
        'learner, dModel',
        'weights',
        'floats kept',
        ...forms(task).flatMap((form) => sizes.map((size) => `${form}, ${size}`)),
      ],
      rows: config.learners.flatMap((learner) =>
        dModels.map((dModel) => {
          const own = rows.filter(
            (row) => row.task === task && row.learner === learner && row.dModel === dModel,
          );
          return [
            `${learnerLabel(learner)}, ${dModel}`,
            grouped(Math.max(...own.map(({ parameters }) => parameters))),
            grouped(Math.max(...own.map(({ stateFloats }) => stateFloats))),
            ...forms(task).flatMap((form) => sizes.map((size) => percentText(solved(own, { size, form })))),
          ];
        }),
      ),
      caption: 'Columns: form and size. Weights and floats kept are those of the longest text.',
    })),
    verdicts: [...thoughtVerdict(config, rows), ...localVerdict(config, rows)],
  };
}

function sizeFigure(config: LearnDpConfig, rows: readonly LearnDpRow[], task: string, form: Form): Figure {
  const { sizes, learners, dModels } = config;
  const dModel = Math.max(...dModels);
  const xRange = [Math.min(...sizes) / 1.1, Math.max(...sizes) * 1.1] as const;
  const series: Series[] = learners.map((learner, i) => {
    const points = sizes
      .toSorted((a, b) => a - b)
      .map((size) => {
        const share = solved(rows, { task, size, form, dModel, learner });
        return {
          x: size,
          y: share.mean,
          error: share.half,
          title: `${learnerLabel(learner)}, size ${size}: ${percentText(share)} %`,
        };
      });
    return { name: learnerLabel(learner), ...look(i), points, line: points.map(({ x, y }) => ({ x, y })) };
  });
  return {
    title: `${task}, ${formLabels[form]}`,
    caption: `Mean over seeds with its 95 % interval, dModel = ${dModel}.`,
    plot: fractionPlot({
      description: `${task}, ${formLabels[form]}: problems wholly right over their size, a curve for each learner.`,
      xLabel: 'size of the problem (logarithmic)',
      yLabel: 'problems wholly right',
      xTicks: sizes,
      xFormat: String,
      xRange,
      series,
    }),
  };
}

/** The better of the two chains against direct answers, at the largest size and width. */
function thoughtVerdict(config: LearnDpConfig, rows: readonly LearnDpRow[]): Verdict[] {
  const chains = config.forms.filter((form) => form !== 'direct');
  if (!config.forms.includes('direct') || chains.length === 0) return [];
  const size = Math.max(...config.sizes);
  const dModel = Math.max(...config.dModels);
  const orders: (1 | 0 | -1)[] = [];
  const measured: string[] = [];
  for (const task of config.tasks) {
    for (const learner of config.learners) {
      const at = (form: Form) => solved(rows, { task, size, dModel, learner, form });
      const [best] = (chains as Form[])
        .filter((form) => form !== 'local' || problems[task].local)
        .map(at)
        .sort((a, b) => b.mean - a.mean);
      const direct = at('direct');
      orders.push(orderOf(best, direct));
      measured.push(`${task}, ${learnerLabel(learner)}: ${percentText(direct)} % to ${percentText(best)} %`);
    }
  }
  return [
    {
      claim: 'L3',
      theory: 'With a chain of thought, programs are learned that direct answers do not learn',
      measured: `Size ${size}, dModel ${dModel}, direct to the better chain: ${measured.join('; ')}`,
      agrees: agreementOfOrders(orders),
    },
  ];
}

/** A local chain helps the mixers whose state is constant; softmax attention does not need it. */
function localVerdict(config: LearnDpConfig, rows: readonly LearnDpRow[]): Verdict[] {
  const constant = config.learners.filter((learner) => !/^(softmax|hybrid)/.test(learner));
  const tasks = config.tasks.filter((task) => problems[task].local);
  if (!config.forms.includes('cot') || !config.forms.includes('local')) return [];
  const size = Math.max(...config.sizes);
  const dModel = Math.max(...config.dModels);
  const orders: (1 | 0 | -1)[] = [];
  const measured = tasks.flatMap((task) =>
    constant.map((learner) => {
      const [cot, local] = (['cot', 'local'] as const).map((form) =>
        solved(rows, { task, size, dModel, learner, form }),
      );
      if (cot.mean < 0.99) orders.push(orderOf(local, cot));
      return `${task}, ${learnerLabel(learner)}: ${percentText(cot)} % to ${percentText(local)} %`;
    }),
  );
  if (measured.length === 0) return [];
  return [
    {
      claim: 'L3',
      theory:
        'Where the state is constant, a chain that repeats its inputs is learned better than one that must look them up far back',
      measured: `Size ${size}, dModel ${dModel}, plain to local chain: ${measured.join('; ')}`,
      agrees: agreementOfOrders(orders),
    },
  ];
}
