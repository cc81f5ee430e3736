/** What `copy-distance` found, from its rows. */
import { fitExponent } from '@freelunch/complexity';
import type { Figure, Findings } from '../experiments/experiment.js';
import { grouped } from '../report/format.js';
import { look } from '../report/look.js';
import { linearPlot, logPlot, type Series } from '../report/plot.js';

export type DistanceConfig = {
  /** Rates of decay, -A. */
  rates: number[];
  /** Step sizes. */
  deltas: number[];
  /** Errors for which the greatest distance is sought. */
  errors: number[];
  /** The greatest distance of the copies. */
  distance: number;
  /** Share of the state that a step keeps, exp(A delta), for the scores. */
  keeps: number[];
  /** Distances at which the score needed is sought. */
  scoreDistances: number[];
};

export type DistanceRow =
  | { kind: 'decay'; rate: number; delta: number; distance: number; measured: number; predicted: number }
  | {
      kind: 'reach';
      rate: number;
      delta: number;
      error: number;
      /** The greatest distance with at most this error; null if that is further than the experiment looks. */
      measured: number | null;
      predicted: number;
    }
  | {
      kind: 'score';
      mixer: 'selectiveScan' | 'softmaxAttention';
      /** 1 for softmax attention, which forgets nothing. */
      keep: number;
      distance: number;
      /** The smallest score that decodes right, if everything nearer has the weight of one match. */
      measured: number;
      predicted: number;
    };

/** Of the error of a copy: float32 rounds the decay of each step. */
const ERROR_TOLERANCE = 1e-3;
/** Of the score, relative. */
const SCORE_TOLERANCE = 1e-3;

export function distanceFindings(config: DistanceConfig, rows: readonly DistanceRow[]): Findings {
  const decays = rows.filter((row) => row.kind === 'decay');
  const reaches = rows.filter((row) => row.kind === 'reach');
  const scores = rows.filter((row) => row.kind === 'score');
  const errorGap = Math.max(...decays.map((row) => Math.abs(row.measured - row.predicted)));
  // Where the error lies within rounding of the wanted one, a step or two decide.
  const seen = reaches.filter(({ predicted }) => predicted < config.distance);
  const reachGap = Math.max(
    0,
    ...seen.map((row) => Math.abs((row.measured ?? Infinity) - row.predicted) / Math.max(1, row.predicted)),
  );
  const scoreGap = Math.max(
    ...scores.map(({ measured, predicted }) =>
      predicted === 0 ? Math.abs(measured) : Math.abs(measured - predicted) / Math.max(1, predicted),
    ),
  );
  const growth = config.keeps.map((keep) => {
    const own = scores.filter((row) => row.mixer === 'selectiveScan' && row.keep === keep);
    // Near, the sum over everything nearer has not yet taken its final shape: (1/a)^l - 1 is not (1/a)^l.
    const far = own.filter(({ distance }) => keep ** distance < 0.1);
    return { keep, points: far.length, base: far.length < 2 ? null : fittedBase(far) };
  });
  const known = growth.filter(
    (one): one is { keep: number; points: number; base: number } => one.base !== null,
  );
  const baseGap = Math.max(0, ...known.map(({ keep, base }) => Math.abs(base * keep - 1)));
  const softmax = scores.filter(({ mixer }) => mixer === 'softmaxAttention');
  // score = slope log(distance): how the score grows with the logarithm.
  const slope = logarithmicSlope(softmax);
  const farthest = Math.max(...config.scoreDistances);
  const bases = known.map(
    ({ keep, base }) => `${base.toFixed(4)} at a = ${keep} (1/a = ${(1 / keep).toFixed(4)})`,
  );
  return {
    text: [
      `A copy's error is 1 - exp(-a delta l) to within ${errorGap.toExponential(1)} through the kernel, at ${decays.length} points up to ${grouped(config.distance)} steps.`,
      `To win against everything nearer, the scan's score must grow by a factor for each step: ${bases.join(', ')}.`,
      `Softmax attention needs a score of ${slope.toFixed(3)} log l: ${softmax.find(({ distance }) => distance === farthest)!.measured.toFixed(2)} at ${farthest} tokens, where the scan with a = ${Math.min(...config.keeps)} needs ${scores.find((row) => row.keep === Math.min(...config.keeps) && row.distance === farthest)!.measured.toExponential(1)}.`,
    ],
    figures: [decayFigure(config, decays), scoreFigure(config, scores)],
    tables: [
      {
        title: 'The greatest distance at an error, measured (predicted)',
        columns: ['a, delta', ...config.errors.map(String)],
        rows: config.rates.flatMap((rate) =>
          config.deltas.map((delta) => [
            `${rate}, ${delta}`,
            ...config.errors.map((error) => {
              const row = reaches.find(
                (one) => one.rate === rate && one.delta === delta && one.error === error,
              )!;
              const measured =
                row.measured === null ? `≥ ${grouped(config.distance)}` : grouped(row.measured);
              return `${measured} (${grouped(row.predicted)})`;
            }),
          ]),
        ),
        caption: `Looked for up to ${grouped(config.distance)} steps. Where a step lies within float32's rounding of the error, the two may differ by it.`,
      },
      {
        title: 'The smallest score that wins against everything nearer',
        columns: ['distance', ...config.keeps.map((keep) => `a = ${keep}`), 'softmax'],
        rows: config.scoreDistances.map((distance) => [
          String(distance),
          ...[...config.keeps, 1].map((keep) => {
            const { measured } = scores.find((row) => row.distance === distance && row.keep === keep)!;
            return measured >= 1e5 ? measured.toExponential(2) : measured.toPrecision(4);
          }),
        ]),
        caption:
          'a: the share of the state that a step keeps. Found by bisection through the kernels; all nearer tokens say the opposite.',
      },
    ],
    verdicts: [
      {
        claim: 'C3',
        theory: 'the error of a copy from distance l is 1 - exp(-a delta l), and its reach follows from it',
        measured: `greatest difference ${errorGap.toExponential(1)}; reaches within ${(100 * reachGap).toFixed(2)} % of those predicted (${seen.length} of ${reaches.length} lie within ${grouped(config.distance)} steps)`,
        agrees: errorGap <= ERROR_TOLERANCE ? (reachGap <= 0.02 ? true : 'partly') : false,
      },
      {
        claim: 'C3',
        theory:
          'to win against everything nearer the score of the scan grows like (1/a)^(l-1), that of softmax attention like log l',
        measured:
          `factors per step ${bases.join(', ')}; softmax ${slope.toFixed(3)} log l; ` +
          `scores within ${scoreGap.toExponential(0)} of the sums' closed form, relative`,
        agrees:
          known.length > 0 && baseGap <= 0.02 && Math.abs(slope - 1) <= 0.01
            ? scoreGap <= SCORE_TOLERANCE
              ? true
              : 'partly'
            : false,
      },
    ],
  } satisfies Findings;
}

/** b of score = factor b^distance, by least squares of the logarithms. */
function fittedBase(rows: readonly { distance: number; measured: number }[]): number {
  // A power law in e^distance has the exponent log b.
  const { exponent } = fitExponent(
    rows.map(({ distance }) => Math.exp(distance)),
    rows.map(({ measured }) => measured),
  );
  return Math.exp(exponent);
}

/** s of score = s log(distance) + constant, by least squares. */
function logarithmicSlope(rows: readonly { distance: number; measured: number }[]): number {
  return fitExponent(
    rows.map(({ distance }) => distance),
    rows.map(({ measured }) => Math.exp(measured)),
  ).exponent;
}

type Of<Kind> = Extract<DistanceRow, { kind: Kind }>;

function decayFigure(config: DistanceConfig, rows: readonly Of<'decay'>[]): Figure {
  const products = [...new Set(rows.map(({ rate, delta }) => Number((rate * delta).toPrecision(6))))].sort(
    (a, b) => a - b,
  );
  const ofProduct = (product: number) =>
    rows.filter(({ rate, delta }) => Math.abs(rate * delta - product) <= 1e-5 * product);
  // Every line that fits into five colours: the least, the greatest, and some between.
  const shown =
    products.length <= 5
      ? products
      : [0, 1, 2, 3, 4].map((i) => products[Math.round((i * (products.length - 1)) / 4)]);
  const series: Series[] = shown.map((product, i) => {
    const own = ofProduct(product).sort((a, b) => a.distance - b.distance);
    return {
      name: `a delta = ${product}`,
      ...look(i),
      points: own.map(({ distance, measured, rate, delta }) => ({
        x: distance,
        y: measured,
        title: `a = ${rate}, delta = ${delta}, distance ${grouped(distance)}: error ${measured.toPrecision(3)}`,
      })),
      line: own.map(({ distance, predicted }) => ({ x: distance, y: predicted })),
    };
  });
  const xTicks = Array.from({ length: 17 }, (_, i) => 2 ** i).filter((x) => x <= config.distance);
  return {
    title: 'Error of a copy over its distance',
    caption:
      'Marks: measured through the selective scan with a real decay, for a value of 1. Lines: 1 - exp(-a delta l). Half of a value is gone after 0.69 / (a delta) steps; only the product counts.',
    plot: linearPlot({
      description:
        'Error of a copy over distance, for several rates of decay: measured marks on predicted lines.',
      xLabel: 'distance l, steps (logarithmic)',
      yLabel: 'error',
      xRange: [0.9, config.distance * 1.1],
      xTicks,
      xFormat: grouped,
      yFormat: String,
      yRange: [0, 1],
      series,
    }),
  };
}

function scoreFigure(config: DistanceConfig, rows: readonly Of<'score'>[]): Figure {
  const greatest = Math.max(...config.scoreDistances);
  const series: Series[] = [...config.keeps, 1].map((keep, i) => {
    const own = rows.filter((row) => row.keep === keep && row.predicted > 0);
    return {
      name: keep === 1 ? 'softmax attention' : `scan, a = ${keep}`,
      ...look(i),
      hollow: i > 3,
      points: own.map(({ distance, measured }) => ({
        x: distance,
        y: measured,
        title: `${keep === 1 ? 'softmax' : `a = ${keep}`}, distance ${distance}: score ${measured.toPrecision(4)}`,
      })),
      line: own.map(({ distance, predicted }) => ({ x: distance, y: predicted })),
    };
  });
  return {
    title: 'Score needed to win against everything nearer',
    caption:
      'Marks: the smallest score, found by bisection through the kernels, at which what is read has the sign of the far token. Lines: closed form. On this ' +
      'logarithmic axis exponential growth is a straight line: the scan pays a factor 1/a for each step, softmax attention the logarithm of the distance.',
    plot: logPlot({
      description:
        'Score needed over distance, logarithmic: straight lines for the scan, a flat curve for softmax attention.',
      xLabel: 'distance l, steps',
      yLabel: 'score',
      xScale: 'linear',
      xRange: [0, greatest * 1.03],
      xTicks: Array.from({ length: 9 }, (_, i) => Math.round((i * greatest) / 8)),
      xFormat: String,
      yFormat: (y) => (y >= 1e4 || y < 1e-2 ? y.toExponential(0) : String(y)),
      series,
    }),
  };
}
