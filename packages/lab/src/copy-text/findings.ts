/** The figures of a report in sentences. */
import type { CopyMixer } from '@freelunch/constructions';
import { type CopyReport, type CopyResult, mixers } from './experiment.js';
import { grouped, percent } from '../report/format.js';

const signed = (fraction: number) => `${percent(fraction)}\u00a0%`;
const ratio = (result: CopyResult) => result.state! / result.length;

/** What the longest length shows, computed from its results: one sentence or two for each finding. */
export function copyFindings(report: CopyReport): string[] {
  const length = Math.max(...report.lengths);
  const at = (mixer: CopyMixer) => report.results.filter((r) => r.length === length && r.mixer === mixer);
  const few = Math.max(...report.states.filter((state) => state < length));
  const enough = Math.min(...report.states.filter((state) => state >= length));
  const right = (mixer: CopyMixer, state: number) =>
    signed(at(mixer).find((result) => result.state === state)!.accuracy);
  const { kind } = report.text;
  const findings: string[] = [];
  if (Number.isFinite(few)) {
    findings.push(
      `Constant size forgets. ${grouped(few)} slots for ${grouped(length)} ${kind}: random keys blur everything a little ` +
        `(${right('selectiveScan', few)} right), addresses keep the first ${grouped(few)} exactly (${right('addressed', few)}), ` +
        `registers the last ${grouped(few)} exactly (${right('registerFile', few)}).`,
    );
  }
  const random = report.results.filter((result) => result.construction === 'C1');
  if (Number.isFinite(enough)) {
    const good = random.filter(({ accuracy }) => accuracy >= 0.99).sort((a, b) => ratio(a) - ratio(b));
    const wanted =
      good.length === 0
        ? ''
        : `; here random keys took N = ${Number(ratio(good[0]).toPrecision(3))} T to reach ${signed(good[0].accuracy)}`;
    findings.push(
      `Linear size keeps. ${grouped(enough)} slots: ${right('addressed', enough)} with addresses, ` +
        `${right('registerFile', enough)} with registers, ${right('linearAttention', enough)} with random keys${wanted}.`,
    );
  }
  const [softmax] = at('softmaxAttention');
  findings.push(
    `Softmax attention reads back ${signed(softmax.accuracy)}, with keys of log2 T bits, because its cache has grown to ` +
      `${grouped(softmax.floats)} floats. That is its price: no free lunch.`,
  );
  const gap = Math.max(...random.map(({ accuracy, predicted }) => Math.abs(accuracy - predicted)));
  findings.push(
    `The prediction for random keys is off by ${Number((100 * gap).toFixed(1))} points at most over all ${random.length} measurements.`,
  );
  return findings;
}

/** For each mixer the smallest size that read the most back. */
export function bestResults(report: CopyReport, length: number): CopyResult[] {
  return mixers.map(({ mixer }) =>
    report.results
      .filter((result) => result.length === length && result.mixer === mixer)
      .reduce((best, result) => (result.accuracy > best.accuracy ? result : best)),
  );
}
