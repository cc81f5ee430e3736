/** A comparison of models as one HTML page that needs nothing else. */
import type { Comparison } from '@freelunch/complexity';
import { grouped } from './format.js';
import { htmlPage } from './page.js';
import { escapeHtml, logPlot } from './plot.js';
import { scaled } from './text-table.js';

const shapes = ['circle', 'square', 'triangle', 'diamond'] as const;

export function comparePage({ figure, along, lengths, rows }: Comparison, mode: string): string {
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
      return { name, colour: `series-${(i % 5) + 1}`, shape: shapes[i % 4], points, line: points };
    }),
  });
  const head = ['', ...lengths.map(grouped), 'order'].map(
    (cell) => `<th scope="col">${escapeHtml(cell)}</th>`,
  );
  const cells = rows.map(
    ({ name, values, order }) =>
      `<tr><th scope="row">${escapeHtml(name)}</th>${[...values.map(scaled), order].map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`,
  );
  const formulas = rows.map(
    ({ name, formula }) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(String(formula))}</dd>`,
  );
  const title = `${figure}, ${mode}, along ${along}`;
  const body = `<h1>${escapeHtml(title)}</h1>
<figure>${plot}</figure>
<div class="scroll" tabindex="0" role="region" aria-label="Figures"><table><thead><tr>${head.join('')}</tr></thead><tbody>${cells.join('')}</tbody></table></div>
<dl>${formulas.join('')}</dl>`;
  return htmlPage({ title, style: 'dd { overflow-wrap: anywhere; color: var(--soft); }', body });
}
