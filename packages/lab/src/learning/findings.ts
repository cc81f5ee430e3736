/** What rows of learners say together: shares with the spread of their seeds, tables and curves. */
import type { Figure } from '../experiments/experiment.js';
import { grouped, percentCell, percentText } from '../report/format.js';
import { look } from '../report/look.js';
import { fractionPlot, type Series } from '../report/plot.js';
import { meanOf, type Spread, spread } from '../report/statistics.js';
import type { Run } from './learn-experiment.js';
import { learnerLabel } from './learners.js';
import type { Training } from './training.js';

/** Groups in the order in which they come. */
export function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return groups;
}

/** The rows that have these values in these fields. */
export const where = <R extends object>(rows: readonly R[], fields: Partial<R>): R[] =>
  rows.filter((row) => (Object.keys(fields) as (keyof R)[]).every((name) => row[name] === fields[name]));

export const byLearner = <R extends Run>(rows: readonly R[]) => [...groupBy(rows, ({ learner }) => learner)];

/** Accuracy of a test after the last step: over all strings or all tokens, of each seed. */
export const right = (rows: readonly Run[], of: 'exact' | 'tokens', test = 0): Spread =>
  spread(rows.map(({ points }) => points[points.length - 1].tests[test][of]));

/** Examples until a test first shows `share`, for each seed that got there. */
export const examplesTo = (rows: readonly Run[], share: number): number[] =>
  rows.flatMap(({ points }) => points.find(({ tests }) => tests[0].exact >= share)?.examples ?? []);

/**
 * `1,600`, the mean of those that got there, with their number unless all did; `at most` if one was there at its first test
 * already; or `never`.
 */
export function examplesText(rows: readonly Run[], share: number): string {
  const reached = examplesTo(rows, share);
  if (reached.length === 0) return 'never';
  const mean = grouped(Math.round(meanOf(reached)));
  const first = Math.min(...rows.map(({ points }) => points[0].examples));
  const text = reached.includes(first) ? `at most ${mean}` : mean;
  return reached.length === rows.length ? text : `${text} (${reached.length} of ${rows.length} seeds)`;
}

/** Powers of ten and their halves and fifths in a range, for a logarithmic axis. */
export function decadeTicks([low, high]: readonly [number, number]): number[] {
  const ticks: number[] = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10)
    for (const factor of [1, 2, 5])
      if (factor * power >= low && factor * power <= high) ticks.push(factor * power);
  return ticks;
}

/** Points of a curve: means, and the range of the seeds. */
export const curvePoints = (
  points: readonly { x: number; share: Spread; title: string }[],
): Pick<Series, 'points' | 'line'> => ({
  points: points.map(({ x, share, title }) => ({
    x,
    y: share.mean,
    range: [share.least, share.greatest],
    title: `${title}: ${percentText(share)}`,
  })),
  line: points.map(({ x, share }) => ({ x, y: share.mean })),
});

/** A curve for each learner. */
export const learnerSeries = <R extends Run>(
  rows: readonly R[],
  points: (own: readonly R[]) => { x: number; share: Spread; what: string }[],
): Series[] =>
  byLearner(rows).map(([learner, own], i) => ({
    name: learnerLabel(learner),
    ...look(i),
    ...curvePoints(
      points(own).map(({ what, ...point }) => ({ ...point, title: `${learnerLabel(learner)}, ${what}` })),
    ),
  }));

/** What marks and bars of these plots are. */
export const SEEDS = 'Marks: mean over the seeds. Bars: the lowest and the highest seed.';

/** Accuracy against examples, a curve for each learner. */
export function learningCurves(
  title: string,
  caption: string,
  rows: readonly Run[],
  of: 'exact' | 'tokens',
): Figure {
  const counts = rows.flatMap(({ points }) => points.map(({ examples }) => examples));
  const xRange = [Math.min(...counts) / 1.1, Math.max(...counts) * 1.1] as const;
  return {
    title,
    caption: `${SEEDS} ${caption}`,
    plot: fractionPlot({
      description: `${title}: accuracy over the number of training examples, a curve for each learner.`,
      xLabel: 'training examples (logarithmic)',
      yLabel: of === 'exact' ? 'whole strings right' : 'tokens right',
      xTicks: decadeTicks(xRange),
      xFormat: grouped,
      xRange,
      series: learnerSeries(rows, (own) =>
        own[0].points.map(({ examples }, i) => ({
          x: examples,
          share: spread(own.map(({ points }) => points[i].tests[0][of])),
          what: `${grouped(examples)} examples`,
        })),
      ),
    }),
  };
}

/** Columns that every table of learners begins with after the learner. */
export const sizeColumns = ['weights', 'floats kept'] as const;

/** Of these rows the largest model, and the longest text. */
export const sizeCells = (rows: readonly Run[]): string[] => [
  grouped(Math.max(...rows.map(({ parameters }) => parameters))),
  grouped(Math.max(...rows.map(({ stateFloats }) => stateFloats))),
];

/** Cells with the least and the greatest seed in brackets. */
export const shareCell = (rows: readonly Run[], of: 'exact' | 'tokens', test = 0) =>
  percentCell(right(rows, of, test));

/** How learners were trained, in a few sentences. */
export function trainingText(training: Training): string {
  const { dModel, nLayers, nHeads, expand, mlp, batchSize, steps, searchSteps, learningRates } = training;
  const { warmupSteps, weightDecay, seeds, testSamples, dConv, embeddingStd } = training;
  const search =
    learningRates.length > 1
      ? `Each learner chose its learning rate from ${learningRates.join(', ')} in runs of ${grouped(searchSteps)} steps with another seed.`
      : `The learning rate was ${learningRates[0]}.`;
  return (
    `Every learner that does not say otherwise has ${nLayers} ${nLayers === 1 ? 'layer' : 'layers'}. All have width dModel = ${dModel}, ${nHeads} heads, expand ${expand}, ` +
    `${mlp === 0 ? 'no MLP' : `an MLP of width ${mlp}`}, ${dConv > 0 ? `convolutions of width ${dConv} before linear attention and the delta rule, ` : ''}` +
    `embeddings that start with a standard deviation of ${embeddingStd}, and an untied output head. Each was trained by AdamW with weight decay ${weightDecay}: ` +
    `${grouped(steps)} steps of ${batchSize} new samples each, ${grouped(warmupSteps)} of them warm-up, then half a cosine down to 0; ${seeds} ${seeds === 1 ? 'seed' : 'seeds'}. ` +
    `${search} Tests: ${grouped(testSamples)} samples of problems that training never draws, teacher-forced (each token is predicted ` +
    `from the right ones before it); a sample is right if all its scored tokens are, which is when greedy decoding would get it wholly right. ` +
    `Shares are means over the seeds, in brackets the lowest and the highest seed. One learner counts as better than another only if every seed of the one is above ` +
    `every seed of the other.`
  );
}
