/** Findings of experiments as Markdown with pictures: `docs/results.md`. */
import { type Claim, claims, type TableData } from '../experiments/experiment.js';
import { excerptLines } from './excerpts.js';
import type { Finished } from './findings-page.js';
import { agreement } from './findings-text.js';
import { plotPicture } from './picture.js';

/**
 * @param introduction  Markdown that comes first, as it is
 * @param finished      in the order of the sections
 * @returns files by their names: `results.md` and its pictures in `plots/`
 */
export function resultsMarkdown(introduction: string, finished: readonly Finished[]): Record<string, string> {
  const files: Record<string, string> = {};
  const order = Object.keys(claims);
  const verdicts = finished
    .flatMap(({ name, findings }) => findings.verdicts.map((verdict) => ({ name, ...verdict })))
    .sort((a, b) => order.indexOf(a.claim) - order.indexOf(b.claim));
  const judged = [...new Set(verdicts.map(({ claim }) => claim))];
  const parts = [
    introduction.trim(),
    '## The claims',
    table(
      ['', 'claim'],
      judged.map((claim: Claim) => [claim, claims[claim]]),
    ),
    '## Theory says, we measured',
    table(
      ['', 'theory says', 'we measured', '', 'experiment'],
      verdicts.map(({ claim, theory, measured, agrees, name }) => [
        claim,
        text(theory),
        text(measured),
        agreement(agrees),
        `[${text(name)}](#${name})`,
      ]),
    ),
  ];
  for (const { name, summary, command, machine, findings } of finished) {
    parts.push(`## ${text(name)}`, text(summary));
    if (findings.text.length > 0) parts.push(findings.text.map((line) => `- ${text(line)}`).join('\n'));
    parts.push(`Made by this command on ${text(machine)}:`, `    ${command.replaceAll(/\s+/g, ' ')}`);
    const shown = findings.excerpts?.filter((one) => one.shown) ?? [];
    if (shown.length > 0) parts.push(indented(excerptLines(shown, 96)));
    findings.figures.forEach(({ title, caption, plot }, i) => {
      const file = `plots/${name}-${i + 1}.svg`;
      files[file] = plotPicture(plot);
      parts.push(`![${text(title)}](${file})`, `*${text(title)}.* ${text(caption)}`);
    });
    for (const one of findings.tables) parts.push(...tableParts(one));
  }
  return { 'results.md': `${parts.join('\n\n')}\n`, ...files };
}

/** Signs that Markdown would take for marks, or for HTML, stand for themselves. */
const text = (words: string) => words.replace(/[\\*_`[\]<>#|]/g, '\\$&').replaceAll('\n', ' ');

const table = (columns: readonly string[], rows: readonly (readonly string[])[]) =>
  [columns, columns.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

function tableParts({ title, columns, rows, caption }: TableData): string[] {
  const escaped = table(
    columns.map(text),
    rows.map((row) => row.map(text)),
  );
  return [`**${text(title)}**`, escaped, ...(caption === undefined ? [] : [text(caption)])];
}

const indented = (lines: readonly string[]) =>
  lines
    .map((line) => (line === '' ? '' : `    ${line}`))
    .join('\n')
    .trimEnd();
