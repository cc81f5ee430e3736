/** What experiments found, as one HTML page that needs nothing else. */
import {
  type Claim,
  claims,
  type Findings,
  type TableData,
  terms,
  type Verdict,
} from '../experiments/experiment.js';
import { excerptsHtml, excerptsStyle } from './excerpts.js';
import { agreement } from './findings-text.js';
import { htmlPage, prose } from './page.js';
import { drawPlot, escapeHtml } from './plot.js';

/** One experiment that was run to its end. */
export interface Finished {
  name: string;
  summary: string;
  /** What runs it again. */
  command: string;
  /** The machine: for what was timed. */
  machine: string;
  findings: Findings;
}

/** A claim that nothing was run for, or not to its end. */
export interface Missing {
  claim: Claim;
  /** What would run it; none if no experiment does. */
  command?: string;
}

/** The page of one experiment. */
export function experimentPage(experiment: Finished): string {
  const { name, summary, findings } = experiment;
  const body = `<header>
<h1>${escapeHtml(summary)}</h1>
${list(findings.text)}
</header>
${claimList([...new Set(findings.verdicts.map(({ claim }) => claim))])}
${verdictTable(findings.verdicts.map((verdict) => ({ verdict, anchor: '' })))}
${section(experiment)}
<p class="made">${escapeHtml(terms)}</p>`;
  return htmlPage({ title: `${name}: ${summary}`, style, body });
}

/** All experiments on one page, at its top what theory says of every claim and what was measured. */
export function reportPage(finished: readonly Finished[], missing: readonly Missing[]): string {
  const order = Object.keys(claims);
  const verdicts = finished
    .flatMap(({ name, findings }) =>
      findings.verdicts.map((verdict) => ({ verdict, anchor: `#${encodeURIComponent(name)}` })),
    )
    .sort((a, b) => order.indexOf(a.verdict.claim) - order.indexOf(b.verdict.claim));
  const notRun = missing.map(
    ({ claim, command }) =>
      `<li><b>${escapeHtml(claim)}</b> ${escapeHtml(claims[claim])}. Not run: ${command === undefined ? 'no experiment yet' : `<code>${escapeHtml(command)}</code>`}</li>`,
  );
  const contents = finished.map(
    ({ name, summary }) =>
      `<li><a href="#${escapeHtml(encodeURIComponent(name))}">${escapeHtml(name)}</a>: ${escapeHtml(summary)}</li>`,
  );
  const body = `<header>
<h1>What a mixer keeps, and at which price: theory and measurement</h1>
<p class="lead">${escapeHtml(tally(finished))}</p>
<p>${escapeHtml(terms)} Claims are numbered C (COPY), D (dynamic programs with chain of thought) and L (learning). Every
figure was measured through the kernels, by the command next to it.</p>
</header>
<section aria-labelledby="verdicts">
<h2 id="verdicts">Theory says, we measured</h2>
${claimList([...new Set(verdicts.map(({ verdict: { claim } }) => claim))])}
${verdictTable(verdicts)}
${notRun.length > 0 ? `<h3>Not run</h3>\n<ul class="findings">${notRun.join('\n')}</ul>` : ''}
</section>
<nav aria-label="Experiments"><ul class="findings">${contents.join('')}</ul></nav>
${finished.map((one) => `<section aria-labelledby="${escapeHtml(one.name)}">\n<h2 id="${escapeHtml(one.name)}">${escapeHtml(one.summary)}</h2>\n${list(one.findings.text)}\n${section(one)}\n</section>`).join('\n')}`;
  return htmlPage({ title: 'Theory says, we measured', style, body });
}

/** How many verdicts agree, in a sentence. */
function tally(finished: readonly Finished[]): string {
  const all = finished.flatMap(({ findings }) => findings.verdicts);
  const count = (word: string) => all.filter(({ agrees }) => agreement(agrees) === word).length;
  return `Of ${all.length} statements of the theory that were tested, ${count('agrees')} agree with what was measured, ${count('partly')} partly, ${count('differs')} differ.`;
}

const list = (sentences: readonly string[]) =>
  `<ul class="findings">${sentences.map((line) => `<li>${prose(line)}</li>`).join('')}</ul>`;

const claimList = (codes: readonly Claim[]) =>
  codes.length === 0
    ? ''
    : `<dl class="claims">${codes.map((code) => `<dt>${escapeHtml(code)}</dt><dd>${escapeHtml(claims[code])}</dd>`).join('')}</dl>`;

function verdictTable(verdicts: readonly { verdict: Verdict; anchor: string }[]): string {
  if (verdicts.length === 0) return '<p>Nothing was run to its end.</p>';
  const rows = verdicts.map(({ verdict: { claim, theory, measured, agrees }, anchor }) => {
    const name = `<abbr title="${escapeHtml(claims[claim])}">${escapeHtml(claim)}</abbr>`;
    return (
      `<tr><th scope="row">${anchor === '' ? name : `<a href="${escapeHtml(anchor)}">${name}</a>`}</th><td data-column="theory says">${prose(theory)}</td>` +
      `<td data-column="we measured">${prose(measured)}</td><td class="${agreement(agrees)}">${agreement(agrees)}</td></tr>`
    );
  });
  return (
    `<div class="scroll" tabindex="0" role="region" aria-label="Theory says, we measured"><table class="verdicts"><thead><tr><th scope="col">claim</th>` +
    `<th scope="col">theory says</th><th scope="col">we measured</th><th scope="col"></th></tr></thead><tbody>${rows.join('')}</tbody></table></div>`
  );
}

function section({ name, command, machine, findings }: Finished): string {
  const heading = (title: string) => `<h3>${escapeHtml(title)}</h3>`;
  return [
    `<p class="made"><b>${escapeHtml(name)}</b>, made by <code>${escapeHtml(command)}</code> on ${escapeHtml(machine)}</p>`,
    ...(findings.excerpts === undefined ? [] : [excerptsHtml(findings.excerpts)]),
    ...findings.figures.map(
      ({ title, caption, plot }) =>
        `${heading(title)}<figure>${drawPlot(plot)}<figcaption>${prose(caption)}</figcaption></figure>`,
    ),
    ...findings.tables.map(dataTable),
  ].join('\n');
}

function dataTable({ title, columns, rows, caption }: TableData): string {
  const head = columns.map((cell) => `<th scope="col">${escapeHtml(cell)}</th>`).join('');
  const body = rows
    .map(
      ([first = '', ...rest]) =>
        `<tr><th scope="row">${escapeHtml(first)}</th>${rest.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`,
    )
    .join('');
  return (
    `<h3>${escapeHtml(title)}</h3><div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(title)}"><table>` +
    `<caption>${prose(caption ?? '')}</caption><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>`
  );
}

const style = `${excerptsStyle}
h3 { font-size: 1rem; margin: 2rem 0 0.25rem; }
.scroll { margin-top: 0.5rem; }
.claims { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 0.8rem; margin: 1.5rem 0 1rem; }
.claims dt { font-weight: 600; }
.claims dd { margin: 0; }
.made { color: var(--soft); font-size: 0.92rem; overflow-wrap: anywhere; }
code { font-size: 0.9em; overflow-wrap: anywhere; }
abbr { text-decoration: none; }
.verdicts th, .verdicts td { text-align: left; white-space: normal; }
.verdicts td:nth-child(2), .verdicts td:nth-child(3) { min-width: 14rem; }
@media (max-width: 36rem) {
  .verdicts thead { display: none; }
  .verdicts tr { display: block; border-bottom: 1px solid var(--rule); padding: 0.5rem 0; }
  .verdicts th, .verdicts td { display: block; border: 0; padding: 0.1rem 0; }
  .verdicts td[data-column]::before { content: attr(data-column) ": "; color: var(--soft); }
}
.agrees { color: var(--series-3); font-weight: 600; }
.partly { color: var(--series-2); font-weight: 600; }
.differs { color: var(--wrong-ink); font-weight: 600; }
`;
