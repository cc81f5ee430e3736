/** A comparison of models as one HTML page that needs nothing else. */
import type { Comparison } from '@freelunch/complexity';
import { grouped } from './format.js';
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
  const body = rows.map(
    ({ name, values, order }) =>
      `<tr><th scope="row">${escapeHtml(name)}</th>${[...values.map(scaled), order].map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`,
  );
  const formulas = rows.map(
    ({ name, formula }) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(String(formula))}</dd>`,
  );
  const title = `${figure}, ${mode}, along ${along}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
${plot}
<div class="wide"><table><thead><tr>${head.join('')}</tr></thead><tbody>${body.join('')}</tbody></table></div>
<dl>${formulas.join('')}</dl>
</main>
</body>
</html>
`;
}

const style = `
:root { --ink: #1b1f24; --muted: #59626d; --grid: #d9dde2; --page: #fff; --series-1: #1d6fb8; --series-2: #c2570c; --series-3: #2a7d46; --series-4: #8a3fa0; --series-5: #a0182f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --muted: #a3abb5; --grid: #3a4048; --page: #14171a; --series-1: #6cb2f0; --series-2: #f19a55; --series-3: #6cc48a; --series-4: #cf93e0; --series-5: #f2788c; } }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 52rem; margin: 0 auto; padding: 1.5rem 1rem; }
svg { width: 100%; height: auto; }
.grid { stroke: var(--grid); } .axis { stroke: var(--muted); }
.tick, .label { fill: var(--muted); font-size: 13px; }
.line { fill: none; stroke: var(--c); stroke-width: 2; } .mark { fill: var(--c); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; list-style: none; }
.legend svg { width: 32px; height: 16px; margin-right: .4rem; vertical-align: middle; }
.wide { overflow-x: auto; } table { border-collapse: collapse; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid var(--grid); text-align: right; white-space: nowrap; }
th[scope=row] { text-align: left; } dd { overflow-wrap: anywhere; color: var(--muted); }
`;
