import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadKernels } from '@freelunch/kernels';
import { copy } from '@freelunch/tasks';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Experiment, ExperimentContext, Piece, Row } from '../experiments/experiment.js';
import { learnCopy, raceConfig } from './copy.js';
import { learn, testSide, trainingSide } from './learn.js';
import { learnerLabel, learnerMixers } from './learners.js';
import { lengthGeneralisation } from './length-generalisation.js';
import { mixtureOf } from './mixture.js';
import { learnMqar } from './mqar.js';
import { learnDp } from './programs.js';
import { fixedBatches } from './tests.js';
import type { Training } from './training.js';

const k = await loadKernels({ variant: 'simd' });
afterEach(() => expect(k.memory.tensors).toBe(0));

const tiny: Training = {
  dModel: 8,
  nLayers: 1,
  nHeads: 2,
  expand: 1,
  mlp: 0,
  dConv: 4,
  embeddingStd: 0.5,
  batchSize: 4,
  steps: 6,
  searchSteps: 3,
  learningRates: [0.01, 0.03],
  warmupSteps: 2,
  weightDecay: 0.01,
  seeds: 2,
  evaluations: 3,
  testSamples: 5,
};

const context = (more: Partial<ExperimentContext> = {}): ExperimentContext => ({
  k,
  signal: new AbortController().signal,
  onProgress: () => {},
  ...more,
});

async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'freelunch-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const task = copy({ vocabSize: 5, length: 4 });
const setup = {
  learner: 'mamba:2',
  position: { type: 'learned', maxLength: 10 } as const,
  task: trainingSide(task),
  tests: [testSide(task)],
  training: tiny,
};

describe('learn', () => {
  let whole: Awaited<ReturnType<typeof learn>>;
  beforeAll(async () => {
    whole = await learn(setup, context());
  });

  it('gives the same for the same setup, another for another seed', async () => {
    const first = whole;
    expect(await learn(setup, context())).toEqual(first);
    expect(first.map(({ seed }) => seed)).toEqual([1, 2]);
    expect(first[0].points.map(({ examples }) => examples)).toEqual([8, 16, 24]);
    expect(first[0].places[0].map(({ distance }) => distance)).toEqual([5, 5, 5, 5, 0]);
    expect(first[0].loss).not.toBe(first[1].loss);
    expect(first[0].search).toEqual(first[1].search);
    expect(first[0].search.map(({ learningRate }) => learningRate)).toEqual(tiny.learningRates);
    const [best] = first[0].search.toSorted((a, b) => a.loss - b.loss);
    expect(first[0].learningRate).toBe(best.learningRate);
  });

  it.each([1, 5, 8, 13, 17])('gives the same after a stop at step %i of all', async (stopAt) => {
    await inFolder(async (folder) => {
      const stop = new AbortController();
      let steps = 0;
      const onProgress = () => {
        if (++steps === stopAt) stop.abort(new Error('enough'));
      };
      await expect(learn(setup, context({ folder, signal: stop.signal, onProgress }))).rejects.toThrow(
        'enough',
      );
      expect(await learn(setup, context({ folder }))).toEqual(whole);
      // Finished runs leave their results, not their weights.
      expect((await readdir(folder)).filter((name) => !name.endsWith('.json'))).toEqual([]);
    });
  });

  it('reports every step once, up to 1', async () => {
    const seen: number[] = [];
    await learn(setup, context({ onProgress: (done) => seen.push(done) }));
    const total = 2 * 3 + 2 * 6;
    expect(seen).toEqual(Array.from({ length: total }, (_, i) => (i + 1) / total));
  });

  it('learns: three letters lie within the reach of a convolution', async () => {
    const short = copy({ vocabSize: 4, length: 3 });
    const [{ points }] = await learn(
      {
        ...setup,
        task: trainingSide(short),
        tests: [testSide(short)],
        training: {
          ...tiny,
          dModel: 32,
          batchSize: 16,
          steps: 200,
          seeds: 1,
          learningRates: [0.01],
          testSamples: 32,
        },
      },
      context(),
    );
    expect(points[0].tests[0].exact).toBeLessThanOrEqual(points.at(-1)!.tests[0].exact);
    expect(points.at(-1)!.tests[0].exact).toBeGreaterThan(0.95);
  });

  it('draws no test from what is trained on', () => {
    const trained = new Set<string>();
    const stream = setup.task.batches({ batchSize: 32, seed: 1 });
    for (let i = 0; i < 100; i++)
      for (const { tokens } of stream.next().value.samples) trained.add(tokens.join());
    const tested = testSide(task).batches({ batchSize: 64, seed: 1 }).next().value.samples;
    expect(tested.filter(({ tokens }) => trained.has(tokens.join()))).toEqual([]);
  });
});

it.each([
  'mamba',
  'mamba:0',
  'mamba:x',
  'mamba3:1', // a plane takes two
  'softmax:2',
  'rnn',
  'softmax@learned',
  'softmax/0',
  'softmax/x',
  'softmax/2/2',
  '',
])('refuses %j', (learner) => {
  expect(() => learnerMixers(learner, tiny)).toThrow('a learner must be one of');
});

it('makes a hybrid of Mamba with softmax attention last', () => {
  const mixers = learnerMixers('hybrid:3', { ...tiny, nLayers: 3 });
  expect(mixers.map(({ type }) => type)).toEqual(['mamba', 'mamba', 'softmax-attention']);
  expect(() => learnerMixers('hybrid:3', tiny)).toThrow('at least 2 layers');
  expect(learnerLabel('softmax@rope')).toBe('softmax attention, rotary');
});

it('gives a learner the layers that its name says', () => {
  expect(learnerMixers('hybrid:3/2', tiny).map(({ type }) => type)).toEqual(['mamba', 'softmax-attention']);
  expect(learnerMixers('mamba3:4', tiny)[0]).toMatchObject({ type: 'mamba3', dState: 4 });
  expect(learnerMixers('mamba:3/1', { ...tiny, nLayers: 3 })).toHaveLength(1);
  expect(learnerLabel('softmax@rope/2')).toBe('softmax attention, rotary, 2 layers');
});

it('trains on a mixture of tasks, and draws from all of them', () => {
  const lengths = [2, 3, 4];
  const mixed = mixtureOf(lengths.map((length) => trainingSide(copy({ vocabSize: 5, length }))));
  const seen = fixedBatches(mixed, 300, 1).flatMap(({ samples }) =>
    samples.map(({ answer }) => answer.length),
  );
  for (const length of lengths) {
    const share = seen.filter((one) => one === length).length / seen.length;
    expect(Math.abs(share - 1 / 3)).toBeLessThan(0.1);
  }
});

/** An experiment with its smallest configuration: rows and findings; the last piece runs twice. */
async function runAll<Config, P extends Piece, R extends Row>(
  experiment: Experiment<Config, P, R>,
  config: Config,
) {
  const rowsOf = async (piece: P) => {
    const result = await experiment.run(piece, context());
    return JSON.parse(JSON.stringify(Array.isArray(result) ? result : [result])) as R[];
  };
  const pieces = experiment.pieces(config);
  const rows: R[][] = [];
  for (const piece of pieces) rows.push(await rowsOf(piece));
  const again = await rowsOf(pieces.at(-1)!);
  return { rows: rows.flat(), last: rows.at(-1)!, again, findings: experiment.findings(config, rows.flat()) };
}

const smallest = [
  {
    experiment: learnCopy,
    config: { learners: ['softmax', 'mamba:1', 'mamba:2'], lengths: [2, 4], vocabSize: 4, training: tiny },
    rows: 12,
    claims: ['L1', 'L1', 'L1'],
  },
  {
    experiment: learnMqar,
    config: {
      learners: ['softmax@rope/2', 'mamba:1', 'mamba:2', 'mamba3:2', 'delta', 'hybrid:1/2'],
      pairs: [1, 2],
      seqLen: 8,
      vocabSize: 12,
      training: tiny,
    },
    rows: 6 * 2,
    claims: ['L2', 'L2', 'L2'],
  },
  {
    experiment: learnDp,
    config: {
      learners: ['linear', 'mamba2:2'],
      tasks: ['lis', 'edit-distance', 'arithmetic'],
      sizes: [3, 4],
      forms: ['direct', 'cot', 'local'],
      dModels: [4, 8],
      p: 5,
      training: { ...tiny, mlp: 8, steps: 2, warmupSteps: 1, learningRates: [0.01], evaluations: 1 },
    },
    rows: 2 * 2 * 2 * 8 * 2,
    claims: ['L3', 'L3'],
  },
  {
    experiment: lengthGeneralisation,
    config: {
      learners: ['softmax@rope', 'gated-linear', 'delta', 'window:2', 'hybrid:2@alibi'],
      tasks: ['copy', 'reverse-copy'],
      trainLength: 4,
      testLengths: [4, 7],
      vocabSize: 4,
      training: { ...tiny, nLayers: 2 },
    },
    rows: 20,
    claims: ['L4', 'L4'],
  },
] as unknown as { experiment: Experiment<Row, Piece, Row>; config: Row; rows: number; claims: string[] }[];

describe.each(smallest)('$experiment.name', ({ experiment, config, rows: count, claims }) => {
  it('gives the same rows for the same configuration, and findings of them', async () => {
    const { rows, last, again, findings } = await runAll(experiment, config);
    expect(rows).toHaveLength(count);
    expect(again).toEqual(last);
    expect(findings.verdicts.map(({ claim }) => claim)).toEqual(claims);
    expect(findings.figures.length).toBeGreaterThan(0);
    for (const { columns, rows: lines } of findings.tables)
      for (const line of lines) expect(line).toHaveLength(columns.length);
    expect(JSON.stringify(findings)).not.toMatch(/NaN|Infinity|undefined|null/);
    // A share's interval stays within 0 and 100 %.
    for (const [, low, high] of JSON.stringify(findings).matchAll(/\((-?[\d.]+)–(-?[\d.]+)\)/g)) {
      expect(Number(low)).toBeGreaterThanOrEqual(0);
      expect(Number(high)).toBeLessThanOrEqual(100);
    }
  });

  it('has presets whose pieces have keys of their own', () => {
    for (const preset of Object.values(experiment.presets)) {
      const keys = experiment.pieces(preset).map(({ key }) => key);
      expect(new Set(keys).size).toBe(keys.length);
    }
  });

  it('refuses what cannot be trained', () => {
    const training = { ...(config.training as Training), evaluations: 7 };
    expect(() => experiment.pieces({ ...config, training })).toThrow(
      'training.evaluations must be at most the steps, ',
    );
    expect(() => experiment.pieces({ ...config, learners: ['rnn'] })).toThrow('a learner must be one of');
    expect(() => experiment.pieces({ ...config, learners: ['linear', 'linear'] })).toThrow("'linear' twice");
  });
});

it('races one string length at one seed', () => {
  const pieces = learnCopy.pieces(raceConfig);
  expect(pieces.map(({ training }) => training.seeds)).toEqual(pieces.map(() => 1));
});
