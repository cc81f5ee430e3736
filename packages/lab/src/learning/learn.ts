/**
 * Learning: one architecture, one task, a few seeds; what the experiments L1 to L4 share.
 *
 * Every learner gets the same: the stream of training batches of a seed, the number of steps, the schedule, and a search
 * over the same learning rates, on another seed and on samples that are neither trained nor tested on. Tests come from the
 * other side of a split by problem: no model has seen any of them.
 */
import type { Task } from '@freelunch/tasks';
import type { ExperimentContext } from '../experiments/experiment.js';
import { learnerLabel } from './learners.js';
import { fixedBatches, type PlaceResult } from './tests.js';
import { modelOf, type Point, type Setup, trainOne } from './training.js';

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

/** The two sides of a task: what is trained on, and what is never. */
export const trainingSide = (task: Task): Task => task.split({ test: TEST_SHARE }).train;
export const testSide = (task: Task): Task => task.split({ test: TEST_SHARE }).test;

/**
 * Searches the learning rate of a learner on a separate seed, then trains it at each seed with the rate whose model has the
 * least loss on samples kept apart.
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
