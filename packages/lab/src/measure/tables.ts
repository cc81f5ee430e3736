/** What `freelunch measure` found, in words and rows: the terminal and the page show the same. */
import { grouped } from '../report/format.js';
import { median, type MeasureReport, type Rates, summary } from './measure.js';

const signed = (fraction: number) => `${fraction < 0 ? '-' : '+'}${(100 * Math.abs(fraction)).toFixed(1)} %`;
const percent = (fraction: number) => `${(100 * fraction).toFixed(1)} %`;

/** What the machine was fitted to, and how well. */
export function fitNote({ calibration, passes, threads }: MeasureReport): string {
  const { models, lengths, median: middle, worst } = calibration;
  const parts = (at: 0 | 1) => [...new Set(models.map((name) => name.split('-')[at]))];
  const [kinds, widths] = [parts(0), parts(1)];
  const which =
    kinds.length * widths.length === models.length
      ? `${kinds.join(', ')}, each of width ${widths.join(', ')}`
      : models.join(', ');
  return (
    `Fitted to ${models.length} models (${which}), prompts of ${lengths.map(grouped).join(', ')} tokens and steps after ` +
    `them on ${threads === 1 ? 'one thread' : `${threads} threads`}, the best of ${passes} passes or more: ${percent(middle)} off in the median, ${percent(worst)} at worst.`
  );
}

export const rateHeader = ['ops', 'GFLOP/s', 'GB/s', 'G exps/s', 'µs per call'];

/** A dash: takes no time that could be told from that of the rest. */
export const rateRows = ({ calibration }: MeasureReport): string[][] =>
  calibration.rates.map(({ class: name, gflops, gigabytes, gexps, callMicroseconds }: Rates) => [
    name,
    ...[gflops, gigabytes, gexps, callMicroseconds].map((value) =>
      value === undefined ? '-' : String(Number(value.toPrecision(3))),
    ),
  ]);

export const exponentHeader = ['model', 'mode', 'measured', 'predicted', 'times off, median', 'worst'];

export const exponentRows = ({ curves }: MeasureReport): string[][] =>
  curves.map(({ name, mode, exponent, predictedExponent, points }) => {
    const off = points.map(({ seconds, predicted }) => predicted / seconds - 1);
    const worst = off.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most));
    return [
      name,
      mode,
      exponent.toFixed(2),
      predictedExponent.toFixed(2),
      percent(median(off.map(Math.abs))),
      signed(worst),
    ];
  });

export const crossoverHeader = ['first, second', 'mode', 'measured', 'predicted', 'off', 'gap'];
export const crossoverCaption = 'Number of tokens from which on the second is cheaper';

export const crossoverRows = ({ crossovers }: MeasureReport): string[][] =>
  crossovers.map(({ mode, first, second, measured, predicted, cheaper, predictedCheaper, off, gap }) => {
    const place = (at: number | undefined, winner: string) => {
      if (at === undefined) return winner === second ? 'always' : 'never';
      return winner === second ? grouped(at) : `below ${grouped(at)}`;
    };
    return [
      `${first}, ${second}`,
      mode,
      place(measured, cheaper),
      place(predicted, predictedCheaper),
      off === undefined ? '-' : signed(off),
      gap === undefined ? '-' : percent(gap),
    ];
  });

export function verdict({ crossovers }: MeasureReport): string {
  const { both, within, median: middle, worst, neither, missed } = summary(crossovers);
  const found =
    both === 0
      ? 'No pair has a crossover that was both measured and predicted.'
      : `Of ${crossovers.length} pairs and modes, ${both} have a crossover that was measured and predicted: ${percent(middle)} off in the median, ` +
        `${percent(worst)} at worst, ${within} within 25 %.`;
  return (
    `${found} Neither measured nor predicted, with the same model cheaper at all lengths: ${neither}. Only one of the two, ` +
    `or another model: ${missed}. The gap is how far apart the measured times are at the predicted length: what a choice ` +
    'by it costs.'
  );
}
