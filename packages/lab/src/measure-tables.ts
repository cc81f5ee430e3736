/** What `freelunch measure` found, in words and rows: the terminal and the page show the same. */
import { grouped } from './format.js';
import { median, type MeasureReport, type Rates, summary } from './measure.js';

const signed = (fraction: number) => `${fraction < 0 ? '-' : '+'}${(100 * Math.abs(fraction)).toFixed(1)} %`;
const percent = (fraction: number) => `${(100 * fraction).toFixed(1)} %`;

/** What the machine was fitted to, and how well. */
export function fitNote({ calibration, passes }: MeasureReport): string {
  const { models, lengths, median: middle, worst } = calibration;
  return (
    `Fitted to ${models.length} models (${models.join(', ')}), prompts of ${lengths.map(grouped).join(', ')} tokens and ` +
    `steps after them, the best of ${passes} passes or more: ${percent(middle)} off in the median, ${percent(worst)} at worst.`
  );
}

export const rateHeader = ['ops', 'GFLOP/s', 'GB/s', 'G exps/s', 'us a call'];

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

export const crossoverHeader = ['mode', 'first and second', 'measured', 'predicted', 'off', 'gap'];

export const crossoverRows = ({ crossovers }: MeasureReport): string[][] =>
  crossovers.map(({ mode, first, second, measured, predicted, cheaper, predictedCheaper, off, gap }) => {
    const place = (at: number | undefined, winner: string) =>
      at === undefined ? `always ${winner}` : winner === second ? grouped(at) : `${grouped(at)} ${winner}`;
    return [
      mode,
      `${first}, ${second}`,
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
    `${found} In ${neither} the same one was and should be cheaper at all lengths; ${missed} were missed. ` +
    'The gap is how far apart the measured times are at the predicted length: what a choice by it costs.'
  );
}
