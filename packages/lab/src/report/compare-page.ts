/** A comparison of models as one HTML page that needs nothing else. */
import type { Comparison } from '@freelunch/complexity';
import { grouped } from './format.js';
import { htmlPage, htmlTable } from './page.js';
import { look } from './look.js';
import { drawPlot, escapeHtml, logPlot } from './plot.js';
import { scaled } from './text-table.js';

/** @param situation  the mode, and whose figures they are */
export function comparePage({ figure, along, lengths, rows }: Comparison, situation: string): string {
  const plot = logPlot({
    description: `${figure} over ${along}`,
    xLabel: along,
    yLabel: figure,
    xTicks: lengths,
    xFormat: grouped,
    yFormat: scaled,
    xRange: [Math.min(...lengths), Math.max(...lengths, Math.min(...lengths) + 1)],
    series: rows.map(({ name, values }, i) => {
      const points = values.map((y, j) => ({
        x: lengths[j],
        y,
        title: `${name}, ${lengths[j]}: ${scaled(y)}`,
      }));
      return { name, ...look(i), points, line: points };
    }),
  });
  const formulas = rows.map(
    ({ name, formula }) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(String(formula))}</dd>`,
  );
  const title = `${figure}, ${situation}, along ${along}`;
  const table = htmlTable(
    title,
    ['', ...lengths.map(grouped), 'order'],
    rows.map(({ name, values, order }) => [name, ...values.map(scaled), order]),
  );
  const body = `<h1>${escapeHtml(title)}</h1>
<figure>${drawPlot(plot)}</figure>
${table}
<h2>What the algorithms need</h2>
<dl>${formulas.join('')}</dl>`;
  return htmlPage({ title, body, style });
}

const style = `
dt { margin-top: 0.75rem; }
dd { overflow-wrap: anywhere; color: var(--soft); }
`;
