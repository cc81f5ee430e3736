/** Texts as they came back, in a page and in a terminal. */
import { eastAsianWidth } from 'get-east-asian-width';
import type { Excerpt } from '../experiments/experiment.js';
import { NOTHING } from '../files/tokens.js';
import { escapeHtml } from './plot.js';
import { wrap } from './text-table.js';

export const excerptsTitle = 'The text as each mixer remembers it';

/** Excerpts that open and close; those to be shown are open. */
export function excerptsHtml(excerpts: readonly Excerpt[]): string {
  const texts = ({ texts: all }: Excerpt) =>
    all.map(({ title, runs }) => {
      const parts = runs.map(({ kind, text }) => {
        const escaped = escapeHtml(text);
        if (kind === 'right') return escaped;
        return kind === 'wrong' ? `<mark>${escaped}</mark>` : `<span class="nothing">${escaped}</span>`;
      });
      return `<h4>${escapeHtml(title)}</h4><p class="text" tabindex="0">${parts.join('')}</p>`;
    });
  return (
    `<h3>${excerptsTitle}</h3><p>Wrong symbols are <mark>marked</mark>; <span class="nothing">${NOTHING}</span> is nothing.</p>` +
    excerpts
      .map(
        (one) =>
          `<details${one.shown ? ' open' : ''}><summary>${escapeHtml(one.title)}</summary>${texts(one).join('')}</details>`,
      )
      .join('')
  );
}

export const excerptsStyle = `
summary { cursor: pointer; font-weight: 600; padding: 0.3rem 0; }
h4 { font-size: 0.95rem; font-weight: 400; margin: 0.9rem 0 0.25rem; }
.text { font: 15px/1.6 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; background: var(--wash); padding: 0.6rem 0.8rem; margin: 0; border-radius: 4px; word-break: break-all; white-space: break-spaces; max-height: 15rem; overflow: auto; }
mark { color: var(--wrong-ink); background: var(--wrong-paper); text-decoration: underline; text-underline-offset: 0.2em; }
.nothing { color: var(--soft); }
`;

/** The excerpts to be shown, wrapped; wrong symbols painted, or marked below where there is no paint. */
export function excerptLines(
  excerpts: readonly Excerpt[],
  width: number,
  paint?: (code: string, text: string) => string,
): string[] {
  const bold = (line: string) => paint?.('1', line) ?? line;
  const how = paint === undefined ? 'have ^ below them' : 'are red and underlined';
  return [
    ...wrap(excerptsTitle, width).map(bold),
    ...wrap(`Wrong symbols ${how}; ${NOTHING} is nothing.`, width),
    '',
    ...excerpts
      .filter(({ shown }) => shown)
      .flatMap(({ title, texts }) => [
        ...wrap(title, width).map(bold),
        ...texts.flatMap((one) => [...wrap(one.title, width), ...textLines(one.runs, width, paint), '']),
      ]),
  ];
}

function textLines(
  runs: Excerpt['texts'][number]['runs'],
  width: number,
  paint?: (code: string, text: string) => string,
): string[] {
  const lines: string[] = [];
  let text = '  ';
  let marks = '  ';
  let used = 2;
  const flush = () => {
    lines.push(text.trimEnd());
    if (paint === undefined && marks.trim() !== '') lines.push(marks.trimEnd());
    text = marks = '  ';
    used = 2;
  };
  for (const { kind, text: stretch } of runs)
    for (const sign of stretch) {
      const cells = eastAsianWidth(sign.codePointAt(0)!);
      if (used + cells > width) flush();
      text += paint === undefined || kind === 'right' ? sign : paint(kind === 'wrong' ? '31;4' : '2', sign);
      marks += (kind === 'wrong' ? '^' : ' ').repeat(cells);
      used += cells;
    }
  if (used > 2) flush();
  return lines;
}
