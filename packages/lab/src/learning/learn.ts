/**
 * Learning: one architecture, one task, a few seeds; what the experiments L1 to L4 share.
 *
 * Every learner gets the same: the stream of training batches of a seed, the number of steps, the schedule, and a search of
 * its own over the same learning rates, on another seed and on samples that are neither trained nor tested on. Tests come
 * from the other side of a split by problem: no model has seen any of them.
 */
import { existsSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cosine } from '@freelunch/autograd';
import type { Kernels } from '@freelunch/kernels';
import {
  createModel,
  type LanguageModel,
  type MixerConfig,
  type PositionConfig,
  train,
} from '@freelunch/models';
import type { Batch, StreamState, Task } from '@freelunch/tasks';
import { InputError } from '../errors.js';
import type { ExperimentContext } from '../experiments/experiment.js';
import { writeFiles } from '../files/write.js';

/** What is spent on a learner, and on what sizes: the same for all of an experiment. */
export interface Training {
  dModel: number;
  nLayers: number;
  /** Of softmax attention and of linear attention. */
  nHeads: number;
  /** dInner = expand * dModel, of Mamba and of Mamba-2. */
  expand: number;
  /** Width of the MLP after each mixer; 0 for none. */
  mlp: number;
  batchSize: number;
  steps: number;
  /** Steps of each run of the search. */
  searchSteps: number;
  learningRates: number[];
  warmupSteps: number;
  weightDecay: number;
  /** Runs, each with a seed of its own for weights and batches. */
  seeds: number;
  /** Times that a run is tested, evenly over its steps. */
  evaluations: number;
  /** Samples of each test. */
  testSamples: number;
}

/** A learner, its task and its tests. */
export interface Setup {
  /** As {@link learnerMixers} reads it. */
  learner: string;
  /** Unless the learner names its own. */
  position: PositionConfig;
  task: Task;
  /** All with the vocabulary of `task`. */
  tests: readonly Task[];
  training: Training;
}

/** What a test says, teacher-forced: each token is predicted from the right ones before it. */
export interface TestResult {
  /** Share of the samples all of whose scored tokens are the likeliest: what greedy writing gets wholly right. */
  exact: number;
  /** Share of the scored tokens. */
  tokens: number;
}

export interface PlaceResult {
  /** Among the scored tokens of a sample, from 0. */
  place: number;
  /** Tokens back to the earliest that it needs; 0 if it needs none. */
  distance: number;
  accuracy: number;
}

export interface Point {
  step: number;
  /** Samples trained on so far. */
  examples: number;
  /** In the order of the setup's tests. */
  tests: TestResult[];
}

export interface SearchResult {
  learningRate: number;
  /** Mean cross-entropy of samples kept apart, in nats a token, after the last step. */
  loss: number;
}

/** One learner at one seed. */
export type Learned = {
  learner: string;
  seed: number;
  parameters: number;
  /** Floats kept after the longest text of the tests. */
  stateFloats: number;
  learningRate: number;
  search: SearchResult[];
  points: Point[];
  /** Like that of the search, after the last step of this run: to choose between models without a look at the tests. */
  loss: number;
  /** Of each test, after the last step: accuracy place by place. */
  places: PlaceResult[][];
};

const TEST_SHARE = 0.1;
const TEST_SEED = 1_000_001;
const SEARCH_SEED = 1_000_002;
const VALIDATION_SEED = 1_000_003;
const TEST_BATCH = 32;

/** The two sides of a task: what is trained on, and what is never. */
export const trainingSide = (task: Task): Task => task.split({ test: TEST_SHARE }).train;
export const testSide = (task: Task): Task => task.split({ test: TEST_SHARE }).test;

export const learnerNames = [
  'softmax',
  'window:W',
  'linear',
  'gated-linear',
  'delta',
  'mamba:N',
  'mamba2:N',
  'hybrid:N',
] as const;

/** Text such as `mamba:16` in words. */
export function learnerLabel(learner: string): string {
  const [name, position] = learner.split('@');
  return position === undefined
    ? mixerLabel(name)
    : `${mixerLabel(name)}, ${positionLabels[position] ?? position}`;
}

const positionLabels: Readonly<Record<string, string>> = {
  none: 'no positions',
  rope: 'rotary',
  alibi: 'ALiBi',
};

function mixerLabel(name: string): string {
  const [kind, size] = name.split(':');
  switch (kind) {
    case 'softmax':
      return 'softmax attention';
    case 'window':
      return `softmax attention, window ${size}`;
    case 'linear':
      return 'linear attention';
    case 'gated-linear':
      return 'gated linear attention';
    case 'delta':
      return 'delta rule';
    case 'mamba':
      return `Mamba, N = ${size}`;
    case 'mamba2':
      return `Mamba-2, N = ${size}`;
    default:
      return `hybrid, N = ${size}`;
  }
}

/**
 * The mixers of a learner, one a layer.
 *
 * @param learner  `softmax`, `window:W` (W keys in sight), `linear`, `gated-linear`, `delta`, `mamba:N`, `mamba2:N` (N is
 *   dState), or `hybrid:N`: Mamba, in the last layer softmax attention. `@rope`, `@alibi` or `@none` may follow
 * @throws InputError if it is none of these
 */
export function learnerMixers(
  learner: string,
  { nLayers, nHeads, expand, dModel }: Pick<Training, 'nLayers' | 'nHeads' | 'expand' | 'dModel'>,
): MixerConfig[] {
  const [name, position] = learner.split('@');
  if (position !== undefined && !Object.hasOwn(positionLabels, position)) refuseLearner(learner);
  const [kind, text] = name.split(':');
  const sized = ['window', 'mamba', 'mamba2', 'hybrid'].includes(kind);
  const size = Number(text);
  if (sized ? !(Number.isSafeInteger(size) && size >= 1) : text !== undefined) refuseLearner(learner);
  const softmax: MixerConfig = { type: 'softmax-attention', nHeads };
  const all = (mixer: MixerConfig) => Array.from({ length: nLayers }, () => mixer);
  switch (kind) {
    case 'softmax':
      return all(softmax);
    case 'window':
      return all({ ...softmax, window: size });
    case 'linear':
      return all({ type: 'linear-attention', nHeads });
    case 'gated-linear':
      return all({ type: 'linear-attention', nHeads, forget: 'token' });
    case 'delta':
      return all({ type: 'delta-rule', nHeads });
    case 'mamba':
      return all({ type: 'mamba', dState: size, expand });
    case 'mamba2':
      return all({ type: 'mamba2', dState: size, expand, headDim: (expand * dModel) / nHeads });
    case 'hybrid':
      if (nLayers < 2) throw new InputError(`${learner} needs at least 2 layers, got nLayers = ${nLayers}`);
      return [...all({ type: 'mamba', dState: size, expand }).slice(1), softmax];
    default:
      return refuseLearner(learner);
  }
}

function refuseLearner(learner: string): never {
  throw new InputError(
    `a learner must be one of ${learnerNames.join(', ')}, with or without @none, @rope or @alibi, got '${learner}'`,
  );
}

/** The positions that a learner names itself: only softmax attention reads them. */
function ownPosition(learner: string): PositionConfig | undefined {
  const position = learner.split('@')[1];
  return position === undefined ? undefined : { type: position as 'none' | 'rope' | 'alibi' };
}

/** @throws InputError naming the first field that no run can have */
export function checkTraining(where: string, learners: readonly string[], training: Training): void {
  const refuse = (name: string, wanted: string, got: unknown) => {
    throw new InputError(`${where}: training.${name} must be ${wanted}, got ${String(got)}`);
  };
  const { learningRates, weightDecay, warmupSteps, steps, searchSteps, evaluations } = training;
  for (const name of [
    'dModel',
    'nLayers',
    'nHeads',
    'expand',
    'batchSize',
    'steps',
    'searchSteps',
    'seeds',
    'evaluations',
    'testSamples',
  ] as const)
    if (!(Number.isSafeInteger(training[name]) && training[name] >= 1))
      refuse(name, 'a whole number from 1 up', training[name]);
  for (const name of ['mlp', 'warmupSteps'] as const)
    if (!(Number.isSafeInteger(training[name]) && training[name] >= 0))
      refuse(name, 'a whole number from 0 up', training[name]);
  if (evaluations > steps) refuse('evaluations', `at most steps = ${steps}`, evaluations);
  const least = Math.min(steps, learningRates.length > 1 ? searchSteps : steps);
  if (warmupSteps > least) refuse('warmupSteps', `at most ${least}, the steps of a run`, warmupSteps);
  if (!(weightDecay >= 0)) refuse('weightDecay', 'a number from 0 up', weightDecay);
  if (!learningRates.every((rate) => rate > 0)) refuse('learningRates', 'above 0', learningRates);
  if (training.dModel % training.nHeads !== 0)
    refuse('nHeads', `a divisor of dModel = ${training.dModel}`, training.nHeads);
  for (const learner of learners) learnerMixers(learner, training);
}

function modelOf(k: Kernels, { learner, position, task, training }: Setup, seed: number): LanguageModel {
  const { dModel, nLayers, mlp } = training;
  return createModel(k, {
    vocabSize: task.vocabulary.size,
    dModel,
    nLayers,
    mixer: learnerMixers(learner, training),
    mlp: mlp === 0 ? 'none' : { type: 'gelu', dHidden: mlp },
    position: ownPosition(learner) ?? position,
    // A head tied to the embedding hears each token's own embedding in the residual stream before anything else; with one of
    // its own, Mamba began to copy earlier in the runs that were compared (few, one seed).
    tieEmbeddings: false,
    seed,
  });
}

/** `count` samples of a task, the same ones at every call. */
function fixedBatches(task: Task, count: number, seed: number): Batch[] {
  const batches: Batch[] = [];
  let stream = task.batches({ batchSize: Math.min(TEST_BATCH, count), seed });
  for (let left = count; left > 0; left -= TEST_BATCH) {
    if (left < TEST_BATCH && batches.length > 0)
      stream = task.batches({ batchSize: left, state: stream.state });
    batches.push(stream.next().value);
  }
  return batches;
}

/** Mean cross-entropy of the scored tokens, in nats. */
function lossOf(model: LanguageModel, batches: readonly Batch[]): number {
  const { k } = model;
  let total = 0;
  let scored = 0;
  for (const { inputs, targets, lossMask, batchSize, seqLen } of batches) {
    k.scope(() => {
      const shape = [batchSize, seqLen];
      const logits = model.forward(k.tensor(inputs, shape));
      const mask = k.tensor(Int32Array.from(lossMask), shape);
      const { loss } = k.crossEntropy({
        logits,
        targets: k.tensor(targets, shape),
        mask,
        reduction: 'sum',
      });
      total += loss.data[0];
    });
    for (const each of lossMask) scored += each;
  }
  return total / scored;
}

interface Counted {
  result: TestResult;
  places: PlaceResult[];
}

/** Tests a model on fixed batches, teacher-forced, token by token the likeliest. */
function test(model: LanguageModel, task: Task, batches: readonly Batch[]): Counted {
  const { k } = model;
  const { vocabSize } = model.config;
  const shift = task.alignment === 'same' ? 0 : 1;
  const right: number[] = [];
  const seen: number[] = [];
  const distances: number[] = [];
  let exact = 0;
  let samples = 0;
  for (const { inputs, targets, lossMask, batchSize, seqLen, samples: texts } of batches) {
    const logits = k.scope(() => model.forward(k.tensor(inputs, [batchSize, seqLen])).toArray());
    for (let b = 0; b < batchSize; b++) {
      const away = task.distances(texts[b]);
      let place = 0;
      let whole = true;
      for (let i = 0; i < seqLen; i++) {
        const at = b * seqLen + i;
        if (lossMask[at] === 0) continue;
        let best = at * vocabSize;
        for (let v = best + 1; v < (at + 1) * vocabSize; v++) if (logits[v] > logits[best]) best = v;
        const good = best - at * vocabSize === targets[at];
        right[place] = (right[place] ?? 0) + (good ? 1 : 0);
        seen[place] = (seen[place] ?? 0) + 1;
        distances[place] = (distances[place] ?? 0) + away[i + shift];
        if (!good) whole = false;
        place++;
      }
      if (whole) exact++;
      samples++;
    }
  }
  const sum = (list: readonly number[]) => list.reduce((total, value) => total + value, 0);
  return {
    result: { exact: exact / samples, tokens: sum(right) / sum(seen) },
    places: right.map((count, place) => ({
      place,
      distance: distances[place] / seen[place],
      accuracy: count / seen[place],
    })),
  };
}

/** What a run leaves in its folder as it goes. */
interface Progress {
  points: Point[];
  done?: { places: PlaceResult[][]; loss: number };
}

interface Run {
  name: string;
  seed: number;
  learningRate: number;
  steps: number;
  /** 0: tested after the last step only, on the validation samples. */
  evaluations: number;
}

/** Trains one model; in a folder, it goes on from where it was stopped. */
async function trainOne(
  setup: Setup,
  run: Run,
  tests: readonly (readonly Batch[])[],
  validation: readonly Batch[],
  { k, signal, folder }: ExperimentContext,
  onStep: () => void,
): Promise<Required<Progress>> {
  const { task, training } = setup;
  const { name, seed, learningRate, steps, evaluations } = run;
  const file = `${name}.json`;
  const progress: Progress =
    folder !== undefined && existsSync(join(folder, file))
      ? (JSON.parse(readFileSync(join(folder, file), 'utf8')) as Progress)
      : { points: [] };
  const save = async () => {
    if (folder !== undefined) await writeFiles(folder, { [file]: JSON.stringify(progress) });
  };
  if (progress.done !== undefined) {
    for (let step = 0; step < steps; step++) onStep();
    return { points: progress.points, done: progress.done };
  }
  const every = Math.ceil(steps / Math.max(1, evaluations));
  const model = modelOf(k, setup, seed);
  try {
    const checkpoints = folder === undefined ? undefined : { every, folder: join(folder, name), keep: 1 };
    const stream = (state?: StreamState) =>
      state === undefined
        ? task.batches({ batchSize: training.batchSize, seed })
        : task.batches({ batchSize: training.batchSize, state });
    const evaluate = {
      every,
      // Before the checkpoint of this step is written, so that no point is lost; one that is met again is the same.
      run: async (_: LanguageModel, step: number) => {
        progress.points = progress.points.filter((point) => point.step < step);
        progress.points.push({
          step,
          examples: step * training.batchSize,
          tests: tests.map((batches, i) => test(model, setup.tests[i], batches).result),
        });
        await save();
      },
    };
    const steady = train<void, StreamState>(model, stream, {
      steps,
      learningRate: cosine({
        peak: learningRate,
        warmupSteps: training.warmupSteps,
        totalSteps: steps + 1,
      }),
      optimizer: { type: 'adamw', weightDecay: training.weightDecay },
      evaluate: evaluations === 0 ? undefined : evaluate,
      checkpoints,
      resume: checkpoints !== undefined,
      signal,
    });
    let counted = 0;
    for await (const { step } of steady) for (; counted < step; counted++) onStep();
    for (; counted < steps; counted++) onStep(); // resumed after its last step
    progress.done = {
      places: evaluations === 0 ? [] : tests.map((batches, i) => test(model, setup.tests[i], batches).places),
      loss: lossOf(model, validation),
    };
    await save();
    if (checkpoints !== undefined) await rm(checkpoints.folder, { recursive: true, force: true });
    return { points: progress.points, done: progress.done };
  } finally {
    model.dispose();
  }
}

/**
 * Searches the learning rate of a learner on a seed of its own, then trains it at each seed with the rate whose model has
 * the least loss on samples kept apart.
 *
 * @returns one for each seed; the same for the same setup, wherever it was stopped in between
 * @throws the signal's reason if it is aborted
 */
export async function learn(setup: Setup, context: ExperimentContext): Promise<Learned[]> {
  const { learner, training, task, tests } = setup;
  const { seeds, steps, searchSteps, learningRates, testSamples, evaluations } = training;
  const searches = learningRates.length > 1 ? learningRates : [];
  const total = searches.length * searchSteps + seeds * steps;
  let done = 0;
  let label = '';
  const onStep = () => context.onProgress(++done / total, label);

  const validation = fixedBatches(task, testSamples, VALIDATION_SEED);
  const fixed = tests.map((each) => fixedBatches(each, testSamples, TEST_SEED));
  const search: SearchResult[] = [];
  for (const learningRate of searches) {
    label = `${learnerLabel(learner)}, learning rate ${learningRate}`;
    const name = `search-${learningRate}`;
    const run = { name, seed: SEARCH_SEED, learningRate, steps: searchSteps, evaluations: 0 };
    const { loss } = (await trainOne(setup, run, [], validation, context, onStep)).done;
    search.push({ learningRate, loss });
  }
  const best = search.reduce<SearchResult | undefined>(
    (least, each) => (least === undefined || each.loss < least.loss ? each : least),
    undefined,
  );
  const learningRate = best?.learningRate ?? learningRates[0];

  const longest = Math.max(...fixed.flat().map(({ seqLen }) => seqLen));
  const model = modelOf(context.k, setup, 1);
  const parameters = model.parameterCount;
  const stateFloats = model.stateBytes(longest) / 4;
  model.dispose();

  const learned: Learned[] = [];
  for (let seed = 1; seed <= seeds; seed++) {
    label = `${learnerLabel(learner)}, seed ${seed}`;
    const run = { name: `seed-${seed}`, seed, learningRate, steps, evaluations };
    const { points, done: last } = await trainOne(setup, run, fixed, validation, context, onStep);
    learned.push({
      learner,
      seed,
      parameters,
      stateFloats,
      learningRate,
      search,
      points,
      loss: last.loss,
      places: last.places,
    });
  }
  return learned;
}
