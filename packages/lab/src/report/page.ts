/** What pages have in common: they need nothing else, no network and no other file. */
import { escapeHtml } from './plot.js';

export interface PageOptions {
  title: string;
  /** HTML of what is on it. */
  body: string;
  /** CSS of this page alone. */
  style?: string;
}

/** Says of a page that this program wrote it. */
export const GENERATOR = '<meta name="generator" content="freelunch">';

export function htmlPage({ title, body, style = '' }: PageOptions): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
${GENERATOR}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
<style>${pageStyle}${style}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`;
}

/** A table that scrolls by itself where it is too wide; the first cell of each row is its head. */
export function htmlTable(
  caption: string,
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const head = header.map((cell) => (cell === '' ? '<td></td>' : `<th scope="col">${escapeHtml(cell)}</th>`));
  const body = rows.map(
    ([first, ...rest]) =>
      `<tr><th scope="row">${escapeHtml(first)}</th>${rest.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`,
  );
  return (
    `<div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(caption)}"><table><caption>${escapeHtml(caption)}</caption>` +
    `<thead><tr>${head.join('')}</tr></thead><tbody>${body.join('')}</tbody></table></div>`
  );
}

const pageStyle = `
:root {
  --paper: #fcfcfa; --ink: #1c1e21; --soft: #565b63; --rule: #d9dbdd; --wash: #f1f1ed;
  --wrong-ink: #9c1c0b; --wrong-paper: #fbe3de;
  --series-1: #0b62a4; --series-2: #b3490a; --series-3: #1d7a4d; --series-4: #8a3f9c; --series-5: #6b6216; --series-6: #a61e4d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181b; --ink: #e7e8e6; --soft: #a5abb3; --rule: #383c42; --wash: #1f2226;
    --wrong-ink: #ffb4a5; --wrong-paper: #4a1f18;
    --series-1: #6db3ec; --series-2: #f0985a; --series-3: #62c896; --series-4: #cf96e0; --series-5: #cfc25f; --series-6: #f28bb0;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.55 system-ui, sans-serif; }
main { max-width: 50rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 1rem; text-wrap: balance; }
h2 { font-size: 1.35rem; line-height: 1.3; margin: 3rem 0 0.75rem; }
.lead { font-size: 1.1rem; }
.findings { padding-left: 1.2rem; }
.findings li { margin: 0.4rem 0; }
figure { margin: 0; overflow-x: auto; }
figure > svg { display: block; width: 100%; min-width: 34rem; height: auto; }
figcaption, caption { color: var(--soft); font-size: 0.92rem; }
.grid { stroke: var(--rule); }
.axis { stroke: var(--soft); }
.tick, .label { fill: var(--soft); font: 14px system-ui, sans-serif; }
.label { fill: var(--ink); }
.line { stroke: var(--c); stroke-width: 2; fill: none; stroke-linejoin: round; }
.dashed { stroke-dasharray: 7 5; }
.error { stroke: var(--c); stroke-width: 1.5; }
.mark { fill: var(--c); stroke: var(--c); stroke-width: 1.6; }
.hollow { fill: none; stroke-width: 2; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0.2rem 1.4rem; padding: 0; margin: 0.25rem 0 0.75rem; font-size: 0.95rem; }
.legend li { display: flex; align-items: center; gap: 0.5rem; }
.legend svg { width: 2rem; height: 1rem; flex: none; }
.scroll { overflow-x: auto; margin-top: 1.25rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 0.95rem; }
caption { text-align: left; padding-bottom: 0.4rem; }
th, td { padding: 0.35rem 0.6rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; vertical-align: top; }
th[scope=row], td.spanning { text-align: left; font-weight: normal; }
thead th { font-weight: 600; white-space: normal; min-width: 4.5rem; vertical-align: bottom; }
thead th:first-child { text-align: left; }
.tag, td code { color: var(--soft); }
.tag { font-size: 0.85em; margin-left: 0.3em; }
a { color: var(--series-1); }
footer { margin-top: 3rem; color: var(--soft); font-size: 0.92rem; }
`;
