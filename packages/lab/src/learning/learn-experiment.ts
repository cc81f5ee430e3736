/** An experiment in which every learner is trained and tested at every point of a grid. */
import type { PositionConfig } from '@freelunch/models';
import type { Task } from '@freelunch/tasks';
import type { Experiment, Findings, Piece, Row } from '../experiments/experiment.js';
import { mixtureOf } from './mixture.js';
import { learn, type Learned, testSide, trainingSide } from './learn.js';
import { checkTraining, type Training } from './training.js';

export interface LearnConfig {
  /** As `learnerMixers` reads them. */
  learners: string[];
  training: Training;
}

/** A point of the grid: all learners are compared at it. */
export interface GridPoint<At> {
  /** Before the learner's name in the key of a piece. */
  key: string;
  /** Begins each row. */
  at: At;
  /** Where it is not that of the whole experiment. */
  training?: Partial<Training>;
  /** Only these; all if absent. */
  learners?: readonly string[];
}

/** What is learned at a point. */
export interface Lesson {
  /** Several, with one vocabulary, are mixed: each sample is drawn from any of them. */
  task: Task | readonly Task[];
  /** All with the same vocabulary; what is trained if absent. Each is tested on problems that are never trained on. */
  tests?: readonly Task[];
  /** Of learners that do not name their own. */
  position: PositionConfig;
}

/** What a row has of a learner at a seed, for most experiments: tests place by place are long. */
export type Run = Omit<Learned, 'places'>;

export function withoutPlaces(learned: Learned): Run {
  const run: Run & Partial<Learned> = { ...learned };
  delete run.places;
  return run;
}

export interface LearnPiece<Config, At> extends Piece {
  learner: string;
  at: At;
  training: Training;
  config: Config;
}

export interface LearnOptions<Config, At, Kept> extends Pick<
  Experiment<Config>,
  'name' | 'summary' | 'claims' | 'presets'
> {
  /**
   * In the order of rows and reports.
   *
   * @throws InputError if a field, other than learners and training, is out of its range
   */
  grid(config: Config): GridPoint<At>[];
  setup(at: At, config: Config): Lesson;
  keep(learned: Learned): Kept;
  findings(config: Config, rows: (At & Kept)[]): Findings;
}

/** @returns an experiment whose pieces are the learners at the points of the grid, and whose rows are their seeds */
export function learnExperiment<Config extends LearnConfig, At extends Row, Kept extends Row>({
  grid,
  setup,
  keep,
  ...experiment
}: LearnOptions<Config, At, Kept>): Experiment<Config, LearnPiece<Config, At>, At & Kept> {
  return {
    ...experiment,

    pieces(config) {
      const points = grid(config);
      return points.flatMap(({ key, at, training: changes, learners = config.learners }) => {
        const training = { ...config.training, ...changes };
        checkTraining(experiment.name, learners, training);
        return learners.map((learner) => ({ key: `${key}, ${learner}`, learner, at, training, config }));
      });
    },

    async run({ learner, at, training, config }, context) {
      const { task, tests, position } = setup(at, config);
      const tasks = 'definition' in task ? [task] : task;
      const given = {
        learner,
        position,
        task: mixtureOf(tasks.map(trainingSide)),
        tests: (tests ?? tasks).map(testSide),
        training,
      };
      const learned = await learn(given, context);
      return learned.map((row) => ({ ...at, ...keep(row) }));
    },
  };
}
