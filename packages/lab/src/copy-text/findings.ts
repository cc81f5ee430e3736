/** What COPY on a text found: sentences, plots, tables, and the text as each mixer remembers it. */
import { type CopyMixer, copyPriceFormulas, predictAccuracy } from '@freelunch/constructions';
import type { Excerpt, ExcerptRun, Figure, Findings, TableData, Verdict } from '../experiments/experiment.js';
import { glyphs, NOTHING, type TokenKind } from '../files/tokens.js';
import { capitalised, copyWay, copyWays } from '../mixers.js';
import { grouped, percent, short } from '../report/format.js';
import { look } from '../report/look.js';
import { fractionPlot, type Series } from '../report/plot.js';
import { wilson } from '../report/statistics.js';
import { codesOf, type CopyTextConfig, type CopyTextRow, materialsOf } from './config.js';

type Config = CopyTextConfig;
type Row = CopyTextRow;

const sign = (fraction: number) => `${percent(fraction)} %`;
const hasRandomKeys = ({ mixer }: Row) => mixer === 'linearAttention' || mixer === 'selectiveScan';

export function copyTextFindings(config: Config, rows: Row[]): Findings {
  const { lengths, kind, dValue, draws } = config;
  const symbols = codesOf(config.vocabulary).length;
  return {
    text: [
      ...sentences(config, rows),
      `Text: ${config.name}, ${grouped(config.textLength)} ${kind}, ${symbols} different. Each mixer stores the first T of them ` +
        `one after the other, then reads every one back from what it has kept: a state of N slots of ${dValue} floats, or a cache of all T. ` +
        `Random keys are drawn ${draws} ${draws === 1 ? 'time' : 'times'}.`,
    ],
    figures: [sizeFigure(config, rows), theoryFigure(config, rows)],
    tables: [
      ...lengths.map((length) => sharesTable(config, rows, length)),
      priceTable(config, rows),
      boundsTable(rows),
    ],
    excerpts: excerpts(config, rows),
    verdicts: verdicts(rows),
  };
}

/** What the longest length shows. */
function sentences({ lengths, states, kind }: Config, rows: readonly Row[]): string[] {
  const length = Math.max(...lengths);
  const right = (mixer: CopyMixer, state: number) =>
    sign(rows.find((row) => row.length === length && row.mixer === mixer && row.state === state)!.accuracy);
  const few = Math.max(...states.filter((state) => state < length));
  const enough = Math.min(...states.filter((state) => state >= length));
  const found: string[] = [];
  if (Number.isFinite(few))
    found.push(
      `A state of constant size forgets. With ${grouped(few)} slots for ${grouped(length)} ${kind}, random keys blur everything a little ` +
        `(${right('selectiveScan', few)} right); addresses keep the first ${grouped(few)} exactly (${right('addressed', few)}), ` +
        `registers the last ${grouped(few)} (${right('registerFile', few)}).`,
    );
  const random = rows.filter(hasRandomKeys);
  if (Number.isFinite(enough)) {
    const ratio = (row: Row) => row.state! / row.length;
    const [good] = random.filter(({ accuracy }) => accuracy >= 0.99).sort((a, b) => ratio(a) - ratio(b));
    const wanted =
      good === undefined
        ? ''
        : `; random keys needed N = ${Number(ratio(good).toPrecision(3))} T to reach ${sign(good.accuracy)}`;
    found.push(
      `A state that grows with the text keeps it. With ${grouped(enough)} slots, ${right('addressed', enough)} come back by addresses, ` +
        `${right('registerFile', enough)} by registers and ${right('linearAttention', enough)} by random keys${wanted}.`,
    );
  }
  const softmax = rows.find((row) => row.length === length && row.mixer === 'softmaxAttention')!;
  found.push(
    `Softmax attention reads back ${sign(softmax.accuracy)} with keys of log2 T bits, because its cache has grown to ` +
      `${grouped(softmax.floats)} floats. That is its price: no free lunch.`,
  );
  const gap = Math.max(...random.map(({ accuracy, predicted }) => Math.abs(accuracy - predicted)));
  found.push(
    `The prediction for random keys is off by at most ${Number((100 * gap).toFixed(1))} percentage points over all ${random.length} measurements.`,
  );
  return found;
}

function verdicts(rows: readonly Row[]): Verdict[] {
  const random = rows.filter(hasRandomKeys);
  const gap = ({ accuracy, predicted }: Row) => Math.abs(accuracy - predicted);
  const near = random.filter((row) => gap(row) <= 0.02 + 3 * row.standardError).length;
  const slots = rows.filter(({ mixer }) => mixer === 'addressed' || mixer === 'registerFile');
  const exact = slots.filter((row) => gap(row) <= 1e-6).length; // of shares rounded to 1e-6
  const softmax = rows.filter(({ mixer }) => mixer === 'softmaxAttention');
  const whole = softmax.filter(({ accuracy }) => accuracy === 1).length;
  const all = (count: number, of: readonly Row[]): Verdict['agrees'] =>
    count === of.length ? true : count === 0 ? false : 'partly';
  return [
    {
      claim: 'C1',
      theory: 'with random keys, the share copied right follows a Gaussian curve in N / T',
      measured: `${near} of ${random.length} shares within 2 percentage points and three standard errors of it`,
      agrees: all(near, random),
    },
    {
      claim: 'C2',
      theory: 'N slots keep exactly N tokens, by addresses or by registers',
      measured: `${exact} of ${slots.length} states kept exactly N of T tokens, or all`,
      agrees: all(exact, slots),
    },
    {
      claim: 'C4',
      theory: 'softmax attention copies with keys of ceil(log2 T) numbers',
      measured: `${whole} of ${softmax.length} lengths copied without an error, up to T = ${grouped(Math.max(...softmax.map(({ length }) => length)))}`,
      agrees: all(whole, softmax),
    },
  ];
}

/** Sizes at which a predicted curve is drawn: four for each doubling, and the corner where all tokens fit. */
function curveStates([first, last]: readonly [number, number], length: number): number[] {
  const sizes = new Set([length]);
  for (let size = first; size <= last; size *= 2 ** 0.25) sizes.add(Math.max(1, Math.round(size)));
  return [...sizes].filter((size) => size >= first && size <= last).sort((a, b) => a - b);
}

const predictionAt = (config: Config, length: number) => {
  const { codebook, tokens } = materialsOf(config, length);
  return predictAccuracy({ codebook, dValue: config.dValue, tokens });
};

const bar = ({ accuracy, draws, length }: Row) => wilson(accuracy, draws * length);

function sizeFigure(config: Config, rows: readonly Row[]): Figure {
  const { states, kind } = config;
  const length = Math.max(...config.lengths);
  const xRange = [Math.min(...states) / 1.25, Math.max(...states) * 1.25] as const;
  const sizes = curveStates(xRange, length);
  const predict = predictionAt(config, length);
  const lines: Partial<Record<CopyMixer, Series['line']>> = {
    linearAttention: sizes.map((x) => ({ x, y: predict(x) })),
    addressed: sizes.map((x) => ({ x, y: Math.min(1, x / length) })),
    softmaxAttention: xRange.map((x) => ({ x, y: 1 })),
  };
  const series = copyWays.map(({ mixer, label }, i): Series => {
    const cached = mixer === 'softmaxAttention';
    return {
      name: cached ? `${label} (a cache, whatever N)` : label,
      colour: look(i).colour,
      // Pairs of ways lie on one another.
      shape: i % 2 === 0 ? 'circle' : 'diamond',
      hollow: i % 2 === 1,
      line: lines[mixer],
      dashed: cached,
      points: cached
        ? undefined
        : rows
            .filter((row) => row.mixer === mixer && row.length === length)
            .map((row) => ({
              x: row.state!,
              y: row.accuracy,
              range: bar(row),
              title: `${label}, N = ${grouped(row.state!)}: ${sign(row.accuracy)}`,
            })),
    };
  });
  return {
    title: 'How much comes back, by size of the state',
    caption:
      `${grouped(length)} ${kind} stored, all read back. Mamba with addresses or registers keeps exactly as many as it has slots, so their ` +
      `marks lie on one another: they differ in which ones (the first, the last). Random keys blur everything, in linear attention as in Mamba. ` +
      `Lines: predicted. Softmax attention caches everything and is not bounded by N.`,
    plot: fractionPlot({
      description: `Share of ${length} tokens read back right over the number of slots, for each of five constructions; the tables have all figures.`,
      xLabel: 'slots of the state, N (logarithmic)',
      yLabel: 'read back right',
      xTicks: states,
      xFormat: grouped,
      xRange,
      series,
    }),
  };
}

function theoryFigure(config: Config, rows: readonly Row[]): Figure {
  const { lengths, states, draws } = config;
  const symbols = codesOf(config.vocabulary).length;
  const ratios = lengths.flatMap((length) => states.map((state) => state / length));
  const xRange = [Math.min(...ratios) / 1.5, Math.max(...ratios) * 1.5] as const;
  const series = lengths.flatMap((length, i): Series[] => {
    const predict = predictionAt(config, length);
    const sizes = curveStates([Math.max(1, xRange[0] * length), xRange[1] * length], length);
    const points = (mixer: CopyMixer) =>
      rows
        .filter((row) => row.length === length && row.mixer === mixer)
        .map((row) => ({
          x: row.state! / length,
          y: row.accuracy,
          range: bar(row),
          title: `T = ${grouped(length)}, N = ${grouped(row.state!)}: ${sign(row.accuracy)} measured, ${sign(row.predicted)} predicted`,
        }));
    const name = `T = ${grouped(length)}`;
    const line = sizes.map((size) => ({ x: size / length, y: predict(size) }));
    return [
      {
        name: `${name}, linear attention`,
        ...look(i),
        dashed: false,
        points: points('linearAttention'),
        line,
      },
      { name: `${name}, Mamba`, ...look(i), dashed: false, points: points('selectiveScan'), hollow: true },
    ];
  });
  const ticks = Array.from({ length: 25 }, (_, i) => 2 ** (i - 12)).filter(
    (x) => x >= xRange[0] && x <= xRange[1],
  );
  return {
    title: 'Random keys: measured and predicted',
    caption:
      `Marks: measured through the kernels, mean of ${draws} ${draws === 1 ? 'draw' : 'draws'} of keys; bars: 95 % intervals, after Wilson. Lines: predicted from the normal ` +
      `distribution of the interference (variance (T - 1) / N per unit of value variance) and the distances between the ${symbols} symbols' vectors. ` +
      `Nearly only N / T matters: the lines lie close to one another.`,
    plot: fractionPlot({
      description:
        'Share of tokens read back right with random keys over slots per token: measured marks on predicted curves, one for each length; the tables have all figures.',
      xLabel: 'slots per token, N / T (logarithmic)',
      yLabel: 'read back right',
      xTicks: ticks.length > 9 ? ticks.filter((x) => Number.isInteger(Math.log2(x) / 2)) : ticks,
      xFormat: (x) => (x < 1 ? `1/${1 / x}` : String(x)),
      xRange,
      series,
    }),
  };
}

function sharesTable({ states, kind }: Config, rows: readonly Row[], length: number): TableData {
  return {
    title: `T = ${grouped(length)} ${kind}: percent read back right (predicted)`,
    columns: ['', ...states.map((state) => `N = ${grouped(state)}`)],
    rows: copyWays.map(({ mixer, label }) => [
      capitalised(label),
      ...states.map((state) => {
        const row = rows.find(
          (one) =>
            one.length === length && one.mixer === mixer && (one.state === state || one.state === null),
        )!;
        return `${percent(row.accuracy)} (${percent(row.predicted)})`;
      }),
    ]),
    caption: 'Softmax attention has no N: it caches all T.',
  };
}

function priceTable({ lengths, kind, dValue }: Config, rows: readonly Row[]): TableData {
  const length = Math.max(...lengths);
  return {
    title: `Price of storing and reading T = ${grouped(length)} ${kind}`,
    columns: ['', 'right', 'N', 'floats kept', 'by formula', 'FLOPs', 'by formula'],
    rows: copyWays.map(({ mixer, label }) => {
      const best = rows
        .filter((row) => row.length === length && row.mixer === mixer)
        .reduce((a, b) => (b.accuracy > a.accuracy ? b : a));
      return [
        capitalised(label),
        sign(best.accuracy),
        best.state === null ? '–' : grouped(best.state),
        grouped(best.floats),
        copyPriceFormulas[mixer].floats,
        short(best.flops),
        copyPriceFormulas[mixer].flops,
      ];
    }),
    caption: `For each, the smallest size that read the most back. N slots of v = ${dValue} floats, R = T reads, b = ceil(log2 T).`,
  };
}

function boundsTable(rows: readonly Row[]): TableData {
  return {
    title: 'What no choice of keys or of code can beat',
    columns: ['', 'overlap, at least', 'of the keys drawn', 'bits of the tokens', 'bits of the state'],
    rows: rows
      .filter(({ mixer }) => mixer === 'linearAttention')
      .map(({ length, state, welch, coherence, informationBits, stateBits }) => [
        `T = ${grouped(length)}, N = ${grouped(state!)}`,
        welch!.toFixed(3),
        coherence?.toFixed(3) ?? '–',
        grouped(Math.ceil(informationBits)),
        grouped(stateBits!),
      ]),
    caption:
      'No T unit keys in N dimensions overlap less than the Welch bound, and no state with fewer bits than the tokens can copy them.',
  };
}

/** Longest text in an excerpt. */
const EXCERPT = 1024;
/** Longest text that is shown at once. */
const SHOWN = 320;

/** Every length and size; at once those of one length, with too few slots and with enough. */
function excerpts(config: Config, rows: readonly Row[]): Excerpt[] {
  const { lengths, states, kind } = config;
  const signs = glyphs({ vocabulary: codesOf(config.vocabulary), kind: kind as TokenKind });
  const { tokens } = materialsOf(config, Math.max(...lengths));
  const fitting = lengths.filter((length) => length <= SHOWN);
  const chosen = fitting.length > 0 ? Math.max(...fitting) : Math.min(...lengths);
  const few = Math.max(...states.filter((state) => state < chosen));
  const enough = Math.min(...states.filter((state) => state >= chosen));
  return lengths.flatMap((length) =>
    states.map((state) => ({
      title:
        `T = ${grouped(length)} ${kind}, N = ${grouped(state)} slots` +
        (length > EXCERPT ? `, the first ${grouped(EXCERPT)}` : ''),
      shown: length === chosen && (state === few || state === enough),
      texts: rows
        .filter((row) => row.length === length && (row.state === state || row.state === null))
        .map((row) => ({
          title: `${capitalised(copyWay(row.mixer).label)}: ${sign(row.accuracy)}`,
          runs: runsOf(row.remembered.slice(0, EXCERPT), tokens, signs),
        })),
    })),
  );
}

function runsOf(remembered: readonly number[], tokens: Int32Array, signs: readonly string[]): ExcerptRun[] {
  const runs: ExcerptRun[] = [];
  remembered.forEach((symbol, t) => {
    const kind = symbol === tokens[t] ? 'right' : symbol === -1 ? 'nothing' : 'wrong';
    const text = symbol === -1 ? NOTHING : signs[symbol];
    const last = runs.at(-1);
    if (last?.kind === kind) last.text += text;
    else runs.push({ kind, text });
  });
  return runs;
}
