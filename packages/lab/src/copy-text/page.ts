/** The report on COPY as one HTML page that needs nothing else: no network, no other file. */
import { copyPriceFormulas } from '@freelunch/constructions';
import { type CopyReport, type CopyResult, mixers } from './experiment.js';
import { bestResults, copyFindings } from './findings.js';
import { grouped, label, percent, short } from '../report/format.js';
import { htmlPage } from '../report/page.js';
import { drawPlot, escapeHtml, fractionPlot, type Plot, type Series, shapes } from '../report/plot.js';
import { glyphs, NOTHING } from '../files/tokens.js';

export function copyPage(report: CopyReport): string {
  const { text, dValue, draws, seed } = report;
  const longest = Math.max(...report.lengths);
  const summary =
    `${escapeHtml(text.name)}: ${grouped(text.length)} ${text.kind}, ${text.vocabulary.length} different. Each mixer stores ` +
    `the first T of them, one after the other, and then reads every one back from what it has kept: a state of N slots ` +
    `of ${dValue} floats, or a cache.`;
  const body = `<header>
<h1>What does a memory of fixed size keep of a text?</h1>
<p class="lead">${summary}</p>
<ul class="findings">${copyFindings(report)
    .map((finding) => `<li>${escapeHtml(finding)}</li>`)
    .join('')}</ul>
</header>

<section aria-labelledby="remembered">
<h2 id="remembered">The text as each mixer remembers it</h2>
${viewer(report)}
</section>

<section aria-labelledby="sizes">
<h2 id="sizes">How much comes back, by size of the state</h2>
<figure>${drawPlot(sizePlot(report, longest))}
<figcaption>${grouped(longest)} ${text.kind} stored, all read back. Mamba with addresses or registers keeps exactly as many
as it has slots, so their marks lie on one another: they differ in which (the first, the last). Random keys blur everything, in
linear attention as in Mamba. Lines: predicted. Softmax attention caches everything and is not bounded by N.</figcaption></figure>
</section>

<section aria-labelledby="theory">
<h2 id="theory">Random keys: measured and predicted</h2>
<figure>${drawPlot(theoryPlot(report))}
<figcaption>Marks: measured through the kernels, mean of ${draws} draws of keys with two standard errors to either side. Lines:
predicted, from the normal distribution of the interference (variance (T &minus; 1)/N for each unit of value variance) and the
distances between the ${text.vocabulary.length} symbols' vectors. Only N / T matters, nearly: the lines lie close to one another.</figcaption></figure>
</section>

<section aria-labelledby="table">
<h2 id="table">All figures</h2>
${resultTables(report)}
</section>

<section aria-labelledby="price">
<h2 id="price">Price and bounds</h2>
${priceTable(report, longest)}
${boundsTable(report)}
</section>

<footer><p>freelunch copy, seed ${seed}, kernels: ${report.variant}. The same data: <a href="copy.json">copy.json</a>,
<a href="copy.csv">copy.csv</a>.</p></footer>`;
  return htmlPage({
    title: 'COPY: what a memory of fixed size keeps of a text',
    body,
    style,
    scriptHash: SCRIPT_HASH,
  });
}

function sizePlot(report: CopyReport, length: number): Plot {
  const results = report.results.filter((result) => result.length === length);
  const [first, last] = plotRange(report.states);
  const curve = report.curves
    .find((entry) => entry.length === length)!
    .points.filter(({ state }) => state >= first && state <= last);
  // What keeps exactly as many tokens as it has slots, with the corner where all fit.
  const slots = [...curve.map(({ state }) => state), length].sort((a, b) => a - b);
  const exact = slots.map((state) => ({ x: state, y: Math.min(1, state / length) }));
  const lines: Record<CopyResult['mixer'], Series['line']> = {
    linearAttention: curve.map(({ state, predicted }) => ({ x: state, y: predicted })),
    selectiveScan: undefined,
    addressed: exact.filter(({ x }) => x >= first && x <= last),
    registerFile: undefined,
    softmaxAttention: [first, last].map((x) => ({ x, y: 1 })),
  };
  const series: Series[] = mixers.map(({ mixer }, i) => {
    const points = results
      .filter((result) => result.mixer === mixer && result.state !== null)
      .map((result) => ({
        x: result.state!,
        y: result.accuracy,
        range: [result.accuracy - 2 * result.standardError, result.accuracy + 2 * result.standardError],
        title: `${label(mixer)}, N = ${grouped(result.state!)}: ${percent(result.accuracy)} %`,
      }));
    const cached = mixer === 'softmaxAttention';
    return {
      name: cached ? `${label(mixer)} (a cache, whatever N)` : label(mixer),
      colour: `series-${i + 1}`,
      shape: shapes[i % 2 === 0 ? 0 : 3],
      points: cached ? undefined : points,
      line: lines[mixer],
      dashed: cached,
      hollow: i % 2 === 1,
    };
  });
  return fractionPlot({
    description: `Fraction of ${length} tokens read back right over the number of slots, for each of five constructions; the table below has all figures.`,
    xLabel: 'slots of the state, N (logarithmic)',
    yLabel: 'read back right',
    xTicks: report.states,
    xFormat: grouped,
    xRange: [first, last],
    series,
  });
}

function plotRange(values: readonly number[]): [number, number] {
  return [Math.min(...values) / 1.25, Math.max(...values) * 1.25];
}

function theoryPlot(report: CopyReport): Plot {
  const ratios = report.lengths.flatMap((length) => report.states.map((state) => state / length));
  const ends = [Math.min(...ratios) / 2, Math.max(...ratios) * 2] as const;
  const series: Series[] = report.lengths.flatMap((length, i) => {
    const measured = (mixer: CopyResult['mixer']) =>
      report.results
        .filter((result) => result.length === length && result.mixer === mixer)
        .map((result) => ({
          x: result.state! / length,
          y: result.accuracy,
          range: [result.accuracy - 2 * result.standardError, result.accuracy + 2 * result.standardError],
          title: `T = ${grouped(length)}, N = ${grouped(result.state!)}: ${percent(result.accuracy)} % measured, ${percent(result.predicted)} % predicted`,
        }));
    const colour = `series-${(i % 5) + 1}`;
    const shape = shapes[i % 4];
    const curve = report.curves.find((entry) => entry.length === length)!.points;
    return [
      {
        name: `T = ${grouped(length)}, linear attention`,
        colour,
        shape,
        points: measured('linearAttention'),
        line: curve
          .map(({ state, predicted }) => ({ x: state / length, y: predicted }))
          .filter(({ x }) => x >= ends[0] && x <= ends[1]),
      },
      {
        name: `T = ${grouped(length)}, Mamba`,
        colour,
        shape,
        points: measured('selectiveScan'),
        hollow: true,
      },
    ];
  });
  const ticks = Array.from({ length: 25 }, (_, i) => 2 ** (i - 12)).filter(
    (x) => x >= ends[0] && x <= ends[1],
  );
  const sparse = ticks.length > 9 ? ticks.filter((x) => Number.isInteger(Math.log2(x) / 2)) : ticks;
  return fractionPlot({
    description:
      'Fraction of tokens read back right with random keys over slots per token: measured marks on predicted curves, one for each length; the table below has all figures.',
    xLabel: 'slots for each token, N / T (logarithmic)',
    yLabel: 'read back right',
    xTicks: sparse,
    xFormat: (x) => (x < 1 ? `1/${1 / x}` : String(x)),
    xRange: ends,
    series,
  });
}

function resultTables(report: CopyReport): string {
  return report.lengths
    .map((length) => {
      const results = report.results.filter((result) => result.length === length);
      const head = report.states.map((state) => `<th scope="col">N = ${grouped(state)}</th>`).join('');
      const rows = mixers.map(({ mixer, construction }) => {
        const cells = results
          .filter((result) => result.mixer === mixer)
          .map(
            (result) =>
              `<td${result.state === null ? ` colspan="${report.states.length}" class="spanning"` : ''}>${percent(result.accuracy)} ` +
              `<span class="predicted">(${percent(result.predicted)})</span>${result.state === null ? ' with its cache' : ''}</td>`,
          );
        return `<tr><th scope="row">${escapeHtml(label(mixer))} <span class="tag">${construction}</span></th>${cells.join('')}</tr>`;
      });
      return (
        `<div class="scroll" tabindex="0" role="region" aria-label="Results for T = ${grouped(length)}"><table><caption>T = ${grouped(length)}: percent read back right, in brackets predicted</caption>` +
        `<thead><tr><td></td>${head}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`
      );
    })
    .join('');
}

function priceTable(report: CopyReport, length: number): string {
  const rows = bestResults(report, length).map((best) => {
    const { mixer, construction } = mixers.find((entry) => entry.mixer === best.mixer)!;
    const { floats, flops } = copyPriceFormulas[best.mixer];
    return (
      `<tr><th scope="row">${escapeHtml(label(mixer))} <span class="tag">${construction}</span></th><td>${percent(best.accuracy)} %</td>` +
      `<td>${best.state === null ? '&ndash;' : grouped(best.state)}</td><td>${grouped(best.floats)}<br><code>${floats}</code></td>` +
      `<td>${short(best.flops)}<br><code>${flops}</code></td></tr>`
    );
  });
  return (
    `<div class="scroll" tabindex="0" role="region" aria-label="Price"><table class="price"><caption>T = ${grouped(length)}, the smallest size that read the most back. ` +
    `v = ${report.dValue}, R = T reads, b = &lceil;log<sub>2</sub> T&rceil;</caption>` +
    `<thead><tr><td></td><th scope="col">right</th><th scope="col">N</th><th scope="col">floats kept</th><th scope="col">FLOPs</th></tr></thead>` +
    `<tbody>${rows.join('')}</tbody></table></div>`
  );
}

function boundsTable(report: CopyReport): string {
  const rows = report.bounds.map(
    (bound) =>
      `<tr><th scope="row">T = ${grouped(bound.length)}, N = ${grouped(bound.state)}</th><td>${bound.welch.toFixed(3)}</td>` +
      `<td>${bound.coherence === null ? '&ndash;' : bound.coherence.toFixed(3)}</td>` +
      `<td>${grouped(Math.ceil(bound.informationBits))}</td><td>${grouped(bound.stateBits)}</td></tr>`,
  );
  return (
    `<div class="scroll" tabindex="0" role="region" aria-label="Bounds"><table><caption>No T unit keys in N dimensions overlap less than the Welch bound; ` +
    `no state with fewer bits than the tokens can copy them</caption><thead><tr><td></td><th scope="col">overlap, at least</th>` +
    `<th scope="col">of the keys drawn</th><th scope="col">bits of the tokens</th><th scope="col">bits of the state</th></tr></thead>` +
    `<tbody>${rows.join('')}</tbody></table></div>`
  );
}

/** The remembered texts of one length and size at a time. Without scripts, the first choice shows. */
function viewer(report: CopyReport): string {
  const few = report.states.filter((state) => state < Math.max(...report.lengths));
  const length = report.lengths.findLast((entry) => entry <= 320) ?? report.lengths[0];
  const state = few.findLast((entry) => entry < length) ?? report.states[0];
  const panels = mixers.map(({ mixer }) => {
    const result = report.results.find(
      (r) => r.mixer === mixer && r.length === length && (r.state === state || r.state === null),
    )!;
    return (
      `<h3>${escapeHtml(label(mixer))} <span data-score="${mixer}">${percent(result.accuracy)} %</span></h3>` +
      `<p class="text" tabindex="0" data-text="${mixer}">${markedText(report, result)}</p>`
    );
  });
  const data = {
    tokens: report.tokens,
    signs: glyphs(report.text),
    nothing: NOTHING,
    results: report.results.map(({ mixer, length: T, state: N, accuracy, remembered }) => ({
      mixer,
      T,
      N,
      score: `${percent(accuracy)} %`,
      remembered,
    })),
  };
  return (
    `<p>Choose how many ${report.text.kind} are stored, T, and how many slots the state has, N. Wrong ones are ` +
    `<mark>marked</mark>; <span class="nothing">${NOTHING}</span> is nothing.</p>` +
    `<p class="choices">${select('T', report.lengths, length)} ${select('N', report.states, state)}</p>` +
    `${panels.join('')}` +
    `<script type="application/json" id="data">${JSON.stringify(data).replaceAll('<', '\\u003c')}</script>` +
    `<script>${script}</script>`
  );
}

function select(name: string, values: readonly number[], chosen: number): string {
  const options = values.map(
    (value) => `<option value="${value}"${value === chosen ? ' selected' : ''}>${grouped(value)}</option>`,
  );
  return `<label>${name} <select data-choice="${name}">${options.join('')}</select></label>`;
}

/** Runs of right symbols as they are, of wrong ones marked, of nothing as dots. */
function markedText(report: CopyReport, result: CopyResult): string {
  const signs = glyphs(report.text);
  const kindAt = (t: number) =>
    result.remembered[t] === report.tokens[t] ? 'right' : result.remembered[t] === -1 ? 'nothing' : 'wrong';
  let html = '';
  let run = '';
  for (let t = 0; t < result.length; t++) {
    const symbol = result.remembered[t];
    const kind = kindAt(t);
    run += escapeHtml(symbol === -1 ? NOTHING : signs[symbol]);
    if (t + 1 < result.length && kindAt(t + 1) === kind) continue;
    html +=
      kind === 'right'
        ? run
        : kind === 'wrong'
          ? `<mark>${run}</mark>`
          : `<span class="nothing">${run}</span>`;
    run = '';
  }
  return html;
}

/** Of the script below; pages run no other. */
const SCRIPT_HASH = 'sha256-UVYDDpDRxe2j0WLLP6kQpkxm+GRuVjiGi9a9JYpeHIQ=';

const script = `
const data = JSON.parse(document.getElementById('data').textContent);
const choice = (name) => document.querySelector('[data-choice=' + name + ']');
function show() {
  const T = Number(choice('T').value), N = Number(choice('N').value);
  for (const { mixer, T: length, N: state, score, remembered } of data.results) {
    if (length !== T || (state !== null && state !== N)) continue;
    document.querySelector('[data-score=' + mixer + ']').textContent = score;
    const kindAt = (t) =>
      remembered[t] === data.tokens[t] ? 'right' : remembered[t] === -1 ? 'nothing' : 'wrong';
    const parts = [];
    for (let start = 0, end = 0; start < length; start = end) {
      const kind = kindAt(start);
      const part = document.createElement(kind === 'wrong' ? 'mark' : 'span');
      if (kind === 'nothing') part.className = 'nothing';
      while (end < length && kindAt(end) === kind) end++;
      part.textContent = remembered
        .slice(start, end)
        .map((symbol) => (symbol === -1 ? data.nothing : data.signs[symbol]))
        .join('');
      parts.push(part);
    }
    document.querySelector('[data-text=' + mixer + ']').replaceChildren(...parts);
  }
}
choice('T').addEventListener('change', show);
choice('N').addEventListener('change', show);
show(); // a page that is opened again keeps its choices
`;

const style = `
h3 { font-size: 1rem; margin: 1.25rem 0 0.25rem; display: flex; justify-content: space-between; gap: 1rem; }
h3 span { font-variant-numeric: tabular-nums; color: var(--soft); white-space: nowrap; }
.findings { padding-left: 1.2rem; }
.findings li { margin: 0.4rem 0; }
.choices label { margin-right: 1.5rem; font-weight: 600; }
select { font: inherit; color: inherit; background: var(--wash); border: 1px solid var(--soft); border-radius: 4px; padding: 0.2rem 0.4rem; }
.text { font: 15px/1.6 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; background: var(--wash); padding: 0.6rem 0.8rem; margin: 0; border-radius: 4px; word-break: break-all; white-space: break-spaces; max-height: 15rem; overflow: auto; }
mark { color: var(--wrong-ink); background: var(--wrong-paper); text-decoration: underline; text-underline-offset: 0.2em; }
.nothing { color: var(--soft); }
.predicted, .tag, td code { color: var(--soft); }
td code { font-size: 0.85em; display: inline-block; max-width: 13rem; white-space: normal; }
`;
