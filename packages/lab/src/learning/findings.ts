/** What rows of learners say together: means over seeds, tables and curves. */
import { InputError } from '../errors.js';
import type { Figure, Verdict } from '../experiments/experiment.js';
import { grouped } from '../report/format.js';
import { type Learned, learnerLabel, type Training } from './learn.js';
import { fractionPlot, type Series } from '../report/plot.js';

/** 97.5 % quantile of Student's t: 95 % lie within plus and minus it. */
export function studentQuantile(degrees: number): number {
  if (!Number.isSafeInteger(degrees) || degrees < 1)
    throw new RangeError(`studentQuantile: degrees must be a whole number from 1 up, got ${degrees}`);
  const first = [12.7062047, 4.30265273, 3.18244631];
  if (degrees <= first.length) return first[degrees - 1];
  // Cornish and Fisher's expansion about the normal quantile: from 4 degrees on good to 1e-3.
  const z = 1.959963985;
  const n = degrees;
  const terms = [
    z,
    (z ** 3 + z) / 4,
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96,
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384,
    (79 * z ** 9 + 776 * z ** 7 + 1482 * z ** 5 - 1920 * z ** 3 - 945 * z) / 92160,
  ];
  return terms.reduce((sum, term, power) => sum + term / n ** power, 0);
}

/** A mean and half the width of its 95 % interval over seeds, by Student's t; none of a single value. */
export interface Estimate {
  mean: number;
  half: number | undefined;
}

export function estimate(values: readonly number[]): Estimate {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n < 2) return { mean, half: undefined };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  return { mean, half: studentQuantile(n - 1) * Math.sqrt(variance / n) };
}

/** Percent, as `97.3 ± 1.2`. */
export const percentText = ({ mean, half }: Estimate) =>
  half === undefined ? (100 * mean).toFixed(1) : `${(100 * mean).toFixed(1)} ± ${(100 * half).toFixed(1)}`;

/** Whether `a` is above `b` by more than both intervals together: a cautious test. */
export const clearlyAbove = (a: Estimate, b: Estimate) => a.mean - b.mean > (a.half ?? 0) + (b.half ?? 0);

/** Which is larger, 1 for `a` and -1 for `b`; 0 where the seeds do not tell. */
export const orderOf = (a: Estimate, b: Estimate): 1 | 0 | -1 =>
  clearlyAbove(a, b) ? 1 : clearlyAbove(b, a) ? -1 : 0;

/** True if theory's order is seen in every case, false if the other is in every one, else partly: few seeds leave much open. */
export const agreementOfOrders = (orders: readonly (1 | 0 | -1)[]): Verdict['agrees'] =>
  orders.length === 0 || new Set(orders).size > 1 || orders[0] === 0 ? 'partly' : orders[0] === 1;

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

/** What rows say of a learner at a seed; tests place by place are only L4's. */
export type Run = Omit<Learned, 'places'>;

/** Rows without their places. */
export const withoutPlaces = (learned: readonly Learned[]): Run[] =>
  learned.map((row) => {
    const run: Run & Partial<Learned> = { ...row };
    delete run.places;
    return run;
  });

/** Whether all, some or none of the cases are as theory says. */
export const agreementOf = (yes: number, of: number): Verdict['agrees'] =>
  yes === of ? true : yes === 0 ? false : 'partly';

/** Accuracies of a test after the last step, one for each seed. */
export const finals = (rows: readonly Run[], of: 'exact' | 'tokens', test = 0): number[] =>
  rows.map(({ points }) => points[points.length - 1].tests[test][of]);

/** Examples until a test first shows `share`, for each seed that got there. */
export const examplesTo = (rows: readonly Run[], share: number, test = 0): number[] =>
  rows.flatMap(({ points }) => points.find(({ tests }) => tests[test].exact >= share)?.examples ?? []);

/**
 * `1,600`, the mean of those that got there, with their number unless all did; `at most` if one was there at its first test
 * already; or `never`.
 */
export function examplesText(rows: readonly Run[], share: number): string {
  const reached = examplesTo(rows, share);
  if (reached.length === 0) return 'never';
  const mean = grouped(Math.round(reached.reduce((sum, count) => sum + count, 0) / reached.length));
  const first = Math.min(...rows.map(({ points }) => points[0].examples));
  const text = reached.includes(first) ? `at most ${mean}` : mean;
  return reached.length === rows.length ? text : `${text} (${reached.length} of ${rows.length} seeds)`;
}

const shapes = ['circle', 'square', 'triangle', 'diamond'] as const;

/** The look of the i-th curve: 5 colours, then the same ones dashed. */
export const look = (i: number) => ({
  colour: `series-${(i % 5) + 1}`,
  shape: shapes[i % shapes.length],
  dashed: i >= 5,
});

/** Powers of ten and their halves and fifths in a range, for a logarithmic axis. */
export function decadeTicks([low, high]: readonly [number, number]): number[] {
  const ticks: number[] = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10)
    for (const factor of [1, 2, 5])
      if (factor * power >= low && factor * power <= high) ticks.push(factor * power);
  return ticks;
}

/** Accuracy against examples, a curve a learner. */
export function learningCurves(
  title: string,
  caption: string,
  rows: readonly Run[],
  of: 'exact' | 'tokens' = 'exact',
): Figure {
  const counts = rows.flatMap(({ points }) => points.map(({ examples }) => examples));
  const xRange = [Math.min(...counts) / 1.1, Math.max(...counts) * 1.1] as const;
  const series: Series[] = [...groupBy(rows, ({ learner }) => learner)].map(([learner, own], i) => {
    const points = own[0].points.map(({ examples }, at) => {
      const { mean, half } = estimate(own.map((row) => row.points[at].tests[0][of]));
      return {
        x: examples,
        y: mean,
        error: half,
        title: `${learnerLabel(learner)}, ${grouped(examples)} examples: ${percentText({ mean, half })} %`,
      };
    });
    return { name: learnerLabel(learner), ...look(i), points, line: points.map(({ x, y }) => ({ x, y })) };
  });
  return {
    title,
    caption,
    plot: fractionPlot({
      description: `${title}: accuracy over the number of training examples, a curve for each learner.`,
      xLabel: 'training examples (logarithmic)',
      yLabel: of === 'exact' ? 'strings wholly right' : 'tokens right',
      xTicks: decadeTicks(xRange),
      xFormat: grouped,
      xRange,
      series,
    }),
  };
}

/** How learners were trained, in a sentence or two. */
export function trainingText(training: Training): string {
  const { dModel, nLayers, nHeads, expand, mlp, batchSize, steps, searchSteps, learningRates } = training;
  const { warmupSteps, weightDecay, seeds, testSamples } = training;
  const search =
    learningRates.length > 1
      ? `Each learner chose its learning rate from ${learningRates.join(', ')} by runs of ${grouped(searchSteps)} steps on a seed of its own.`
      : `The learning rate was ${learningRates[0]}.`;
  return (
    `Every learner: ${nLayers} ${nLayers === 1 ? 'layer' : 'layers'} of dModel = ${dModel}, ${nHeads} heads, expand ${expand}, ` +
    `${mlp === 0 ? 'no MLP' : `an MLP of width ${mlp}`}, a head of its own; AdamW with weight decay ${weightDecay}, ${grouped(warmupSteps)} steps of ` +
    `warm-up, then half a cosine to 0; ${grouped(steps)} steps of ${batchSize} new samples, ${seeds} seeds. ${search} ` +
    `Tests: ${grouped(testSamples)} samples of problems that training never draws, teacher-forced; a sample is right if all its scored tokens ` +
    `are, which is when greedy writing would get it wholly right. Intervals: 95 %, Student's t over the seeds.`
  );
}

/** @throws InputError unless there is at least one, each a whole number from `least` up, each once */
export function checkWhole(where: string, name: string, values: readonly number[], least = 1): void {
  const wrong = values.find((value) => !Number.isSafeInteger(value) || value < least);
  if (values.length === 0 || wrong !== undefined)
    throw new InputError(
      `${where}: each of ${name} must be a whole number from ${least} up, got ${wrong ?? 'none'}`,
    );
  checkOnce(where, name, values);
}

/** @throws InputError if a value comes twice */
export function checkOnce(where: string, name: string, values: readonly unknown[]): void {
  const twice = values.find((value, i) => values.indexOf(value) !== i);
  if (twice !== undefined)
    throw new InputError(`${where}: ${name} must differ from one another, got ${String(twice)} twice`);
}

/** dState of `mamba:N`; undefined for all others. */
export function mambaState(learner: string): number | undefined {
  const found = /^mamba:(\d+)$/.exec(learner.split('@')[0]);
  return found === null ? undefined : Number(found[1]);
}
