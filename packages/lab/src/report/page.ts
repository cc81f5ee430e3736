/** What pages have in common: they need nothing else, no network and no other file. */
import { escapeHtml } from './plot.js';
import { dark, light, plotStyle, variables } from './style.js';

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

/** Words of a sentence: numbers and their signs of percent stay together, and the two sides of an equation. */
export const prose = (text: string) =>
  escapeHtml(text)
    .replaceAll(' %', '&nbsp;%')
    .replace(/(?<=\w) = (?=\S)/g, '&nbsp;=&nbsp;');

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
:root { ${variables(light)} }
@media (prefers-color-scheme: dark) {
  :root { ${variables(dark)} }
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
${plotStyle}.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0.2rem 1.4rem; padding: 0; margin: 0.25rem 0 0.75rem; font-size: 0.95rem; }
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
