/** Measured times over predicted ones, as one HTML page that needs nothing else. */
import { grouped } from '../report/format.js';
import { look } from '../report/look.js';
import { type Curve, type MeasuredMode, measuredModes, type MeasureReport } from './measure.js';
import {
  crossoverCaption,
  crossoverHeader,
  crossoverRows,
  exponentHeader,
  exponentRows,
  fitNote,
  rateHeader,
  rateRows,
  verdict,
} from './tables.js';
import { htmlPage, htmlTable, prose } from '../report/page.js';
import { drawPlot, escapeHtml, logPlot, type Plot, type Series } from '../report/plot.js';

const plotTitles: Record<MeasuredMode, string> = {
  prefill: 'Prompts: time per token by length',
  decode: 'Steps: time per token by the number of tokens before it',
};

export function measurePage(report: MeasureReport): string {
  const firsts = [...new Set(report.crossovers.map(({ first }) => first))];
  const plots = measuredModes.map(
    (mode) =>
      `<section><h2>${plotTitles[mode]}</h2>${firsts
        .map(
          (first) =>
            `<figure>${drawPlot(plot(report, mode, first))}<figcaption>${escapeHtml(first)} and what it is compared with. Marks: ` +
            `measured. Lines: predicted. Both axes are logarithmic.</figcaption></figure>`,
        )
        .join('')}</section>`,
  );
  const title = 'Time: measured and predicted';
  const body = `<header>
<h1>${title}</h1>
<p class="lead">${prose(verdict(report))}</p>
<p>${prose(fitNote(report))} None of the models in the plots had a part in the fit.</p>
</header>
${plots.join('\n')}
<section><h2>Crossovers</h2>
${htmlTable(crossoverCaption, crossoverHeader, crossoverRows(report))}
</section>
<section><h2>Growth</h2>
${htmlTable('Powers by which times of the longer half of the lengths grow; how far predicted times are off', exponentHeader, exponentRows(report))}
</section>
<section><h2>The machine</h2>
${htmlTable('What the fit found, for each kind of op; a dash: no time that could be told from the rest', rateHeader, rateRows(report))}
</section>
<footer><p>freelunch measure, the best of ${report.passes} passes or more. The same data: <a href="measure.json">measure.json</a>.</p></footer>`;
  return htmlPage({ title, body, style });
}

function plot({ curves, crossovers, lengths }: MeasureReport, mode: MeasuredMode, first: string): Plot {
  // A prompt's time is spread over its tokens: whole times lie on one another, all growing with the length.
  const share = (x: number) => (mode === 'prefill' ? 1 / x : 1);
  const own = crossovers.filter((entry) => entry.mode === mode && entry.first === first);
  const curveOf = (name: string) => curves.find((curve) => curve.mode === mode && curve.name === name)!;
  const series = [...new Set([first, ...own.map(({ second }) => second)])].map((name, i): Series => {
    const { points } = curveOf(name);
    return {
      name,
      ...look(i),
      points: points.map(({ length, seconds, predicted }) => ({
        x: length,
        y: seconds * share(length),
        title: `${name}, ${grouped(length)} tokens: ${duration(seconds)} measured, ${duration(predicted)} predicted`,
      })),
      line: points.map(({ length, predicted }) => ({ x: length, y: predicted * share(length) })),
    };
  });
  const places = (which: 'measured' | 'predicted', field: 'seconds' | 'predicted') =>
    own.flatMap((entry) => {
      const x = entry[which];
      if (x === undefined) return [];
      const title = `${first} and ${entry.second} cost the same at ${grouped(x)}, ${which}`;
      return [{ x, y: timeAt(curveOf(first), x, field) * share(x), title }];
    });
  const marks: Series[] = [
    {
      name: 'crossover, measured',
      colour: 'ink',
      shape: 'circle',
      hollow: true,
      points: places('measured', 'seconds'),
    },
    {
      name: 'crossover, predicted',
      colour: 'ink',
      shape: 'square',
      hollow: true,
      points: places('predicted', 'predicted'),
    },
  ];
  const powers = lengths.filter((length) => Number.isInteger(Math.log2(length)));
  return logPlot({
    description: `${plotTitles[mode]}: ${series.map(({ name }) => name).join(', ')}; the tables below have all figures.`,
    xLabel: mode === 'prefill' ? 'tokens' : 'tokens before the step',
    yLabel: 'per token',
    xTicks: powers.length > 1 ? powers : lengths,
    xFormat: grouped,
    yFormat: duration,
    xRange: [Math.min(...lengths) / 1.1, Math.max(...lengths) * 1.1],
    series: [...series, ...marks.filter(({ points }) => points!.length > 0)],
  });
}

/** On the line that the plot draws, which is straight between the logarithms. */
function timeAt({ points }: Curve, length: number, field: 'seconds' | 'predicted'): number {
  const right = Math.max(
    1,
    points.findIndex((point) => point.length >= length),
  );
  const [a, b] = [points[right - 1], points[right]];
  const part = Math.log(length / a.length) / Math.log(b.length / a.length);
  return a[field] * (b[field] / a[field]) ** part;
}

/** 0.00123 as 1.23 ms. */
function duration(seconds: number): string {
  const [unit, name] = seconds < 0.9995e-3 ? [1e-6, 'µs'] : seconds < 0.9995 ? [1e-3, 'ms'] : [1, 's'];
  return `${Number((seconds / unit).toPrecision(3))} ${name}`;
}

const style = `
figure { margin-top: 1.5rem; }
figcaption { margin-bottom: 2rem; }
`;
