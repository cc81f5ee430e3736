/** One model and its training: what is spent on it, its checkpoints, and what it leaves in its folder as it goes. */
import { existsSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cosine } from '@freelunch/autograd';
import type { Kernels } from '@freelunch/kernels';
import { createModel, type LanguageModel, type PositionConfig, train } from '@freelunch/models';
import { type Batch, BatchStream, type Sampler, type StreamState, type Task } from '@freelunch/tasks';
import { checksOf } from '../experiments/check.js';
import type { ExperimentContext } from '../experiments/experiment.js';
import { writeFiles } from '../files/write.js';
import { learnerMixers, ownPosition } from './learners.js';
import { lossOf, type PlaceResult, type TestResult, testModel } from './tests.js';

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
  /** Width of the convolutions of linear attention and of the delta rule; 0 for none. */
  dConv: number;
  /** Standard deviation of initial embeddings: small ones run together where the learning rate is large beside them. */
  embeddingStd: number;
  batchSize: number;
  steps: number;
  /** Steps of each run of the search. */
  searchSteps: number;
  learningRates: number[];
  warmupSteps: number;
  weightDecay: number;
  /** Runs, each with its own seed for weights and batches. */
  seeds: number;
  /** Times that a run is tested, evenly over its steps. */
  evaluations: number;
  /** Samples of each test. */
  testSamples: number;
}

/** Greater ones would take memory or time without end. */
const LARGEST = {
  dModel: 4096,
  nLayers: 64,
  nHeads: 256,
  expand: 16,
  batchSize: 4096,
  steps: 1e8,
  searchSteps: 1e8,
  seeds: 1000,
  evaluations: 1e5,
  testSamples: 1e6,
} as const;

/** @throws InputError naming the first field that no run can have */
export function checkTraining(experiment: string, learners: readonly string[], training: Training): void {
  const { whole, each, once } = checksOf(experiment);
  const field = (name: keyof Training) => `training.${name}`;
  for (const [name, largest] of Object.entries(LARGEST) as [keyof typeof LARGEST, number][])
    whole(field(name), training[name], 1, largest);
  const { learningRates, weightDecay, warmupSteps, steps, searchSteps, evaluations, dModel, nHeads } =
    training;
  whole(field('mlp'), training.mlp, 0, 65536);
  whole(field('dConv'), training.dConv, 0, 64);
  each(field('embeddingStd'), [training.embeddingStd], (std) => std > 0 && std < Infinity, 'above 0');
  each(field('evaluations'), [evaluations], (count) => count <= steps, `at most the steps, ${steps}`);
  each(field('learningRates'), learningRates, (rate) => rate > 0 && rate < Infinity, 'above 0');
  const shortest = learningRates.length > 1 ? Math.min(steps, searchSteps) : steps;
  whole(field('warmupSteps'), warmupSteps, 0, LARGEST.steps);
  each(
    field('warmupSteps'),
    [warmupSteps],
    (count) => count <= shortest,
    `at most the steps of a run, ${shortest}`,
  );
  each(field('weightDecay'), [weightDecay], (decay) => decay >= 0 && decay < Infinity, 'a number from 0 up');
  each(field('nHeads'), [nHeads], () => dModel % nHeads === 0, `a divisor of dModel = ${dModel}`);
  once('learners', learners);
  each('learners', learners, () => true, 'a list of learners');
  for (const learner of learners) learnerMixers(learner, training);
}

/** A learner, its task and its tests. */
export interface Setup {
  /** As `learnerMixers` reads it. */
  learner: string;
  /** Unless the learner names its own. */
  position: PositionConfig;
  task: Sampler;
  /** All with the vocabulary of `task`. */
  tests: readonly Task[];
  training: Training;
}

export interface Point {
  step: number;
  /** Samples trained on so far. */
  examples: number;
  /** In the order of the setup's tests. */
  tests: TestResult[];
}

export function modelOf(
  k: Kernels,
  { learner, position, task, training }: Setup,
  seed: number,
): LanguageModel {
  const { dModel, mlp, embeddingStd } = training;
  const mixer = learnerMixers(learner, training);
  return createModel(k, {
    vocabSize: task.vocabulary.size,
    dModel,
    nLayers: mixer.length,
    mixer,
    mlp: mlp === 0 ? 'none' : { type: 'gelu', dHidden: mlp },
    position: ownPosition(learner) ?? position,
    // A head tied to the embedding hears each token's own embedding in the residual stream before anything else; untied,
    // Mamba began to copy earlier in the runs that were compared (few, one seed).
    tieEmbeddings: false,
    embeddingStd,
    seed,
  });
}

/** What a run leaves in its folder as it goes. */
interface Progress {
  points: Point[];
  done?: { places: PlaceResult[][]; loss: number };
}

export interface Run {
  /** Of its files. */
  name: string;
  seed: number;
  learningRate: number;
  steps: number;
  /** 0: tested after the last step only, on the validation samples. */
  evaluations: number;
}

/** What a folder has of a run; undefined if there is nothing that can be read. */
function readProgress(path: string): Progress | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const found = JSON.parse(readFileSync(path, 'utf8')) as Partial<Progress> | null;
    return Array.isArray(found?.points) ? (found as Progress) : undefined;
  } catch {
    return undefined; // cut short by whatever ended the program
  }
}

/** Trains one model; in a folder, it goes on from where it was stopped. */
export async function trainOne(
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
  const checkpointFolder = folder === undefined ? undefined : join(folder, name);
  const kept = folder === undefined ? undefined : readProgress(join(folder, file));
  // Without the points before it, a checkpoint is of no use.
  if (kept === undefined && checkpointFolder !== undefined && evaluations > 0)
    await rm(checkpointFolder, { recursive: true, force: true });
  const progress: Progress = kept ?? { points: [] };
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
    const checkpoints =
      checkpointFolder === undefined ? undefined : { every, folder: checkpointFolder, keep: 1 };
    const stream = (state?: StreamState) =>
      state === undefined
        ? new BatchStream(task, { batchSize: training.batchSize, seed })
        : new BatchStream(task, { batchSize: training.batchSize, state });
    const evaluate = {
      every,
      // Before the checkpoint of this step is written, so that no point is lost; one that is met again is the same.
      run: async (_: LanguageModel, step: number) => {
        progress.points = progress.points.filter((point) => point.step < step);
        progress.points.push({
          step,
          examples: step * training.batchSize,
          tests: tests.map((batches, i) => testModel(model, setup.tests[i], batches).result),
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
      places:
        evaluations === 0 ? [] : tests.map((batches, i) => testModel(model, setup.tests[i], batches).places),
      loss: lossOf(model, validation),
    };
    await save();
    if (checkpoints !== undefined) await rm(checkpoints.folder, { recursive: true, force: true });
    return { points: progress.points, done: progress.done };
  } finally {
    model.dispose();
  }
}
