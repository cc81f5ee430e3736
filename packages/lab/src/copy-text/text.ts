/** The report on COPY for a terminal. */
import { copyPriceFormulas } from '@freelunch/constructions';
import { eastAsianWidth } from 'get-east-asian-width';
import { type CopyReport, type CopyResult, mixers } from './experiment.js';
import { bestResults, copyFindings } from './findings.js';
import { grouped, label, percent, short } from '../report/format.js';
import { glyphs, NOTHING } from '../files/tokens.js';
import { wrap } from '../report/text-table.js';

export interface TextOptions {
  /** Width of the terminal. */
  columns: number;
  colour: boolean;
}

/** Longest text that is shown as each mixer remembers it. */
const SHOWN_LENGTH = 320;

/** The whole report. */
export function copyText(report: CopyReport, { columns, colour }: TextOptions): string {
  const width = Math.max(30, Math.min(columns, 110));
  const paint = (code: string, text: string) => (colour ? `\x1b[${code}m${text}\x1b[0m` : text);
  const title = (text: string) => wrap(text, width).map((line) => paint('1', line));
  const prose = (text: string, indent = '') => wrap(text, width, indent);
  const { text, dValue, draws } = report;

  const lines = [
    ...title('COPY: what does a memory of fixed size keep of a text?'),
    '',
    ...prose(
      `${text.name}: ${grouped(text.length)} ${text.kind}, ${text.vocabulary.length} different. Each mixer stores the ` +
        `first T of them, one after the other, and then reads every one back from what it has kept. ` +
        `A state has N slots of ${dValue} floats.`,
    ),
    '',
  ];
  for (const length of report.lengths) {
    lines.push(...title(`T = ${grouped(length)} ${text.kind}: percent read back right (predicted)`));
    lines.push(...accuracyTable(report, length, width), '');
  }
  lines.push(
    ...prose(
      `Random keys are the mean of ${draws} ${draws === 1 ? 'draw' : 'draws'}; their prediction is the normal ` +
        `distribution's, from the distances between the ${text.vocabulary.length} symbols' vectors. Softmax attention has ` +
        `no N: it caches all T.`,
    ),
    '',
  );

  const shown = shownCase(report);
  lines.push(...title(shown.title));
  lines.push(
    ...prose(`Wrong ones ${colour ? 'are red and underlined' : 'have ^ below them'}; ${NOTHING} is nothing.`),
    '',
  );
  for (const result of shown.results) {
    const size = result.state === null ? 'cache of all' : `N = ${grouped(result.state)}`;
    lines.push(...prose(`${label(result.mixer)}, ${size}: ${percent(result.accuracy)} %`));
    lines.push(...rememberedLines(report, result, shown.length, width, colour ? paint : undefined), '');
  }

  const longest = Math.max(...report.lengths);
  lines.push(...title(`Price of storing and reading T = ${grouped(longest)} ${text.kind}`));
  lines.push(...priceTable(report, longest, width), '');
  lines.push(...title(`Bounds at T = ${grouped(longest)}`));
  lines.push(...boundsTable(report, longest, width), '');
  lines.push(...title('What this shows'));
  for (const finding of copyFindings(report)) lines.push(...prose(`- ${finding}`, '  '));
  return lines.join('\n') + '\n';
}

function accuracyTable(report: CopyReport, length: number, width: number): string[] {
  const results = report.results.filter((result) => result.length === length);
  const sizes = report.states.map(grouped);
  const ofMixer = (mixer: string) => results.filter((result) => result.mixer === mixer);
  const fits = (table: string[]) => table.every((line) => line.length <= width);

  const rows = mixers.map(({ mixer }) => [
    label(mixer),
    ...ofMixer(mixer).map((result) => (result.state === null ? `${cell(result)}, all cached` : cell(result))),
  ]);
  const header = ['', ...sizes.map((size) => `N = ${size}`)];
  const wide = [2, 1].map((gap) => columnsOf([header, ...rows], gap)).find(fits);
  if (wide !== undefined) return wide;

  // Too narrow for that: a mixer's name has its own line, and so has the prediction.
  const pairs = mixers.flatMap(({ mixer }) => {
    const own = ofMixer(mixer);
    return [
      [label(mixer)],
      ['  right', ...own.map(({ accuracy }) => percent(accuracy))],
      ['  predicted', ...own.map(({ predicted }) => percent(predicted))],
    ];
  });
  const narrow = columnsOf([['N', ...sizes], ...pairs.filter(([name]) => name.startsWith(' '))], 2);
  const [top, ...values] = narrow;
  const named = [top, ...mixers.flatMap(({ mixer }, i) => [label(mixer), ...values.slice(2 * i, 2 * i + 2)])];
  if (fits(named)) return named;

  return mixers.flatMap(({ mixer }) =>
    wrap(label(mixer), width, '  ').concat(
      columnsOf(
        ofMixer(mixer).map((result) => [
          result.state === null ? '  all cached' : `  N = ${grouped(result.state)}`,
          cell(result),
        ]),
        2,
      ),
    ),
  );
}

const cell = ({ accuracy, predicted }: CopyResult) => `${percent(accuracy)} (${percent(predicted)})`;

/** Rows as lines, `gap` blanks between columns: the first column to the left, the others to the right. A row may stop early with a long cell. */
function columnsOf(rows: readonly (readonly string[])[], gap = 2): string[] {
  const count = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: count }, (_, c) =>
    Math.max(...rows.filter((row) => row.length === count).map((row) => row[c].length)),
  );
  widths[0] = Math.max(...rows.map((row) => row[0].length));
  return rows.map((row) =>
    row
      .map((entry, c) =>
        c === 0 || row.length < count ? entry.padEnd(widths[c]) : entry.padStart(widths[c]),
      )
      .join(' '.repeat(gap))
      .trimEnd(),
  );
}

/** The case whose text is shown: the longest that is short enough, with too few slots and with enough, if there are. */
function shownCase(report: CopyReport): { title: string; length: number; results: CopyResult[] } {
  const fitting = report.lengths.filter((length) => length <= SHOWN_LENGTH);
  const length = fitting.length > 0 ? Math.max(...fitting) : Math.min(...report.lengths);
  const few = Math.max(...report.states.filter((state) => state < length));
  const enough = Math.min(...report.states.filter((state) => state >= length));
  const states = [few, enough].filter(Number.isFinite);
  const results = report.results.filter(
    (result) => result.length === length && (result.state === null || states.includes(result.state)),
  );
  const part = length <= SHOWN_LENGTH ? '' : ` (its first ${SHOWN_LENGTH})`;
  return {
    title: `The text as each remembers it, T = ${grouped(length)}${part}`,
    length: Math.min(length, SHOWN_LENGTH),
    results: states
      .flatMap((state) => results.filter((result) => result.state === state))
      .concat(results.filter((result) => result.state === null)),
  };
}

/** What was remembered, wrapped, with wrong symbols painted, or marked below where there is no paint. */
function rememberedLines(
  report: CopyReport,
  result: CopyResult,
  length: number,
  width: number,
  paint?: (code: string, text: string) => string,
): string[] {
  const signs = glyphs(report.text);
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
  for (let t = 0; t < length; t++) {
    const symbol = result.remembered[t];
    const sign = symbol === -1 ? NOTHING : signs[symbol];
    const cells = eastAsianWidth(sign.codePointAt(0)!);
    if (used + cells > width) flush();
    const wrong = symbol !== report.tokens[t];
    text += paint !== undefined && wrong ? paint(symbol === -1 ? '2' : '31;4', sign) : sign;
    marks += (wrong && symbol !== -1 ? '^' : ' ').repeat(cells);
    used += cells;
  }
  if (used > 2) flush();
  return lines;
}

function priceTable(report: CopyReport, length: number, width: number): string[] {
  const best = bestResults(report, length);
  const table = columnsOf([
    ['', 'right', 'N', 'floats kept', 'FLOPs'],
    ...best.map(({ mixer, accuracy, state, floats, flops }) => [
      label(mixer),
      `${percent(accuracy)} %`,
      state === null ? '-' : grouped(state),
      grouped(floats),
      short(flops),
    ]),
  ]);
  const note = 'Size: the smallest that read the most back. Formulas: freelunch copy --help';
  if (table.every((line) => line.length <= width)) return table.concat(wrap(note, width));
  const blocks = best.flatMap(({ mixer, accuracy, state, floats, flops }) =>
    wrap(label(mixer), width, '  ').concat(
      `  right        ${percent(accuracy)} %${state === null ? '' : `, N = ${grouped(state)}`}`,
      `  floats kept  ${grouped(floats)}`,
      `  FLOPs        ${short(flops)}`,
    ),
  );
  return blocks.concat(wrap(note, width));
}

function boundsTable(report: CopyReport, length: number, width: number): string[] {
  const bounds = report.bounds.filter((bound) => bound.length === length);
  const needed =
    `Two of the keys overlap by the Welch bound at least. The ${grouped(length)} tokens have up to ` +
    `${grouped(Math.ceil(bounds[0].informationBits))} bits, T log2 ${report.text.vocabulary.length}.`;
  const table = columnsOf([
    ['', 'Welch bound', 'keys drawn', 'bits in the state'],
    ...bounds.map(({ state, welch, coherence, stateBits }) => [
      `N = ${grouped(state)}`,
      welch.toFixed(3),
      coherence?.toFixed(3) ?? '-',
      grouped(stateBits),
    ]),
  ]);
  if (table.every((line) => line.length <= width)) return table.concat(wrap(needed, width));
  const blocks = bounds.flatMap(({ state, welch, coherence, stateBits }) =>
    wrap(
      `N = ${grouped(state)}: Welch bound ${welch.toFixed(3)}, keys drawn ${coherence?.toFixed(3) ?? '-'}, ` +
        `${grouped(stateBits)} bits`,
      width,
      '  ',
    ),
  );
  return blocks.concat(wrap(needed, width));
}

/** The formulas of the prices, for the help. */
export function priceFormulas(): string[] {
  return columnsOf([
    ['', 'floats kept', 'FLOPs'],
    ...mixers.map(({ mixer }) => [
      label(mixer),
      copyPriceFormulas[mixer].floats,
      copyPriceFormulas[mixer].flops,
    ]),
  ]);
}
