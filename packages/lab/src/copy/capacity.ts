/** C1: what comes back of T tokens stored under random keys in N dimensions, measured and predicted. */
import {
  copyLinearAttention,
  copySelectiveScan,
  decode,
  encode,
  informationBits,
  predictAccuracy,
  randomUnitKeys,
  signCodebook,
  welchBound,
} from '@freelunch/constructions';
import { random } from '@freelunch/random';
import { checksOf } from '../experiments/check.js';
import { type Experiment, type Figure, type Findings, pause } from '../experiments/experiment.js';
import { mixers } from '../mixers.js';
import { grouped, percent, percentCell } from '../report/format.js';
import { look } from '../report/look.js';
import { statistics, wilson } from '../report/statistics.js';
import { coherence, fractionRight, LARGEST_SIZE, round } from './measures.js';
import { fractionPlot, linearPlot, type Series } from '../report/plot.js';

type Config = {
  /** Numbers of tokens, T. */
  lengths: number[];
  /** Key widths for each token, N / T. */
  ratios: number[];
  vocabSize: number;
  dValue: number;
  /** Tokens read back at each point, in as many draws of keys and symbols as that takes. */
  tokensRead: number;
  seed: number;
};

type Size = { length: number; width: number };

interface CapacityPiece extends Size {
  key: string;
  mixer: 'linearAttention' | 'selectiveScan';
  vocabSize: number;
  dValue: number;
  draws: number;
  seed: number;
  [field: string]: unknown;
}

type CapacityRow = {
  mixer: CapacityPiece['mixer'];
  /** Tokens, T. */
  length: number;
  /** Width of the keys, N. */
  width: number;
  draws: number;
  /** Share of tokens decoded right, the mean over draws, */
  accuracy: number;
  /** its standard error, */
  standardError: number;
  /** and the same by theory. */
  predicted: number;
  /** Least possible greatest |k_i . k_j|, */
  welch: number;
  /** and that of the first keys drawn. */
  coherence: number;
  informationBits: number;
  stateBits: number;
};

const names = {
  linearAttention: mixers['linear-attention'].name,
  selectiveScan: mixers.mamba.name,
} as const;

/** The goal: measured and predicted shares differ by at most this, at every point. */
const TOLERANCE = 0.02;

export const copyCapacity: Experiment<Config, CapacityPiece, CapacityRow> = {
  name: 'copy-capacity',
  summary: 'How many of T tokens come back from a state of N slots?',
  claims: ['C1'],
  presets: {
    quick: {
      lengths: [64, 256],
      ratios: [1 / 16, 1 / 4, 1, 2, 4],
      vocabSize: 64,
      dValue: 16,
      tokensRead: 16384,
      seed: 1,
    },
    full: {
      lengths: [64, 256, 1024],
      ratios: [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 1.5, 2, 3, 4],
      vocabSize: 64,
      dValue: 16,
      tokensRead: 32768,
      seed: 1,
    },
  },

  pieces({ lengths, ratios, vocabSize, dValue, tokensRead, seed }) {
    const { whole, each } = checksOf('copy-capacity');
    whole('vocabSize', vocabSize, 2, 4096);
    whole('dValue', dValue, Math.ceil(Math.log2(vocabSize)), 256);
    whole('tokensRead', tokensRead, 1, 2 ** 30);
    whole('seed', seed, 0, Number.MAX_SAFE_INTEGER);
    whole('lengths', lengths, 2, LARGEST_SIZE);
    each('ratios', ratios, (ratio) => ratio > 0 && ratio <= 16, 'above 0 and up to 16');
    return lengths.flatMap((length) => {
      const widths = [...new Set(ratios.map((ratio) => Math.max(1, Math.round(ratio * length))))];
      return widths.flatMap((width) =>
        (['linearAttention', 'selectiveScan'] as const).map((mixer) => ({
          key: `${mixer} T=${length} N=${width}`,
          mixer,
          length,
          width,
          vocabSize,
          dValue,
          draws: Math.ceil(tokensRead / length),
          seed,
        })),
      );
    });
  },

  async run(piece, context) {
    const { mixer, length, width, vocabSize, dValue, draws } = piece;
    const { k } = context;
    const { codebook, tokens } = materials(piece);
    const keyStream = random(piece.seed).split(`${mixer} ${length} ${width}`);
    const copy = mixer === 'linearAttention' ? copyLinearAttention : copySelectiveScan;
    const accuracies: number[] = [];
    for (let draw = 0; draw < draws; draw++) {
      await pause(context, draw / draws);
      const symbols = k.scope(() => {
        const keys = randomUnitKeys(k, keyStream.split(draw), length, width);
        return decode(copy(k, { values: encode(k, tokens, codebook, dValue), keys }), codebook);
      });
      accuracies.push(fractionRight(symbols, tokens));
    }
    const { mean, standardError } = statistics(accuracies);
    return {
      mixer,
      length,
      width,
      draws,
      accuracy: round(mean),
      standardError: round(standardError),
      predicted: round(predictAccuracy({ codebook, dValue, tokens })(width)),
      welch: round(welchBound(length, width)),
      coherence: round(k.scope(() => coherence(k, randomUnitKeys(k, keyStream.split(0), length, width)))),
      informationBits: round(informationBits(length, vocabSize)),
      stateBits: 32 * width * dValue,
    };
  },

  findings(config, rows) {
    const gap = ({ accuracy, predicted }: CapacityRow) => Math.abs(accuracy - predicted);
    const worst = rows.reduce((most, row) => (gap(row) > gap(most) ? row : most));
    const error = Math.max(...rows.map(({ standardError }) => standardError));
    const within = rows.filter((row) => gap(row) <= TOLERANCE).length;
    const at = ({ mixer, length, width }: CapacityRow) =>
      `${names[mixer]}, T = ${grouped(length)}, N = ${grouped(width)}`;
    const longest = Math.max(...rows.map(({ length }) => length));
    const shares = rows
      .filter(({ mixer, length }) => mixer === 'selectiveScan' && length === longest)
      .map(({ width, accuracy }) => `${percent(accuracy)} % at N/T = ${ratioText(width / longest)}`);
    const leastBits = Math.min(...rows.map(({ stateBits, informationBits: bits }) => stateBits / bits));
    const overBound = rows.filter((row) => row.coherence < row.welch - 1e-6).length;
    return {
      text: [
        `Of ${grouped(longest)} tokens Mamba returns ${shares.join(', ')}: one value for each slot is not enough with random keys.`,
        `The greatest distance between measured and predicted share is ${gap(worst).toFixed(4)} (${at(worst)}), of ${rows.length} points; ` +
          `the greatest standard error is ${error.toFixed(4)}.`,
        overBound === 0
          ? `No set of keys overlaps less than the Welch bound; random ones overlap more, by a factor of ${overlapFactor(rows)} where N < T.`
          : `${overBound} sets of keys overlap less than the Welch bound: this must not be.`,
        `The states have at least ${leastBits.toFixed(1)} times the bits of the tokens: it is the linear read that loses them, not the room.`,
      ],
      figures: [sharesFigure(config, rows), overlapFigure(rows)],
      tables: sharesTables(rows),
      verdicts: [
        {
          claim: 'C1',
          theory: `the share copied right follows a Gaussian curve in N / T, within ${TOLERANCE} at every point`,
          measured: `greatest difference ${gap(worst).toFixed(4)} (${at(worst)}), ${within} of ${rows.length} points within ${TOLERANCE}, standard errors up to ${error.toFixed(4)}`,
          agrees: within === rows.length ? true : within >= 0.9 * rows.length ? 'partly' : false,
        },
      ],
    } satisfies Findings;
  },
};

/** The symbols' vectors, and the tokens of one length: evenly drawn symbols, the same for every width. */
function materials({
  length,
  vocabSize,
  dValue,
  seed,
}: {
  length: number;
  vocabSize: number;
  dValue: number;
  seed: number;
}): { codebook: Float32Array; tokens: Int32Array } {
  const rng = random(seed);
  const codebook = signCodebook(rng.split('codebook'), vocabSize, dValue);
  const symbols = rng.split(`tokens ${length}`);
  return { codebook, tokens: Int32Array.from({ length }, () => symbols.integer(vocabSize)) };
}

const ratioText = (ratio: number) =>
  ratio < 1 && Number.isInteger(1 / ratio) ? `1/${1 / ratio}` : String(Number(ratio.toPrecision(3)));

function overlapFactor(rows: readonly CapacityRow[]): string {
  const factors = rows
    .filter(({ welch }) => welch > 0)
    .map(({ coherence: measured, welch }) => measured / welch);
  if (factors.length === 0) return '1';
  return `${Math.min(...factors).toFixed(1)} to ${Math.max(...factors).toFixed(1)}`;
}

/** Ends and ticks of an axis of N / T. */
function ratioAxis(rows: readonly CapacityRow[]) {
  const ratios = rows.map(({ length, width }) => width / length);
  const xRange = [Math.min(...ratios) / 1.25, Math.max(...ratios) * 1.25] as const;
  const xTicks = Array.from({ length: 33 }, (_, i) => 2 ** (i - 16)).filter(
    (x) => x >= xRange[0] && x <= xRange[1],
  );
  return { xLabel: 'slots for each token, N / T (logarithmic)', xRange, xTicks, xFormat: ratioText };
}

function sharesFigure(config: Config, rows: readonly CapacityRow[]): Figure {
  const axis = ratioAxis(rows);
  const series: Series[] = config.lengths.flatMap((length, i) => {
    const predict = predictAccuracy({ ...materials({ ...config, length }), dValue: config.dValue });
    const widths = new Set<number>();
    for (let x = axis.xRange[0]; x <= axis.xRange[1]; x *= 2 ** 0.25)
      widths.add(Math.max(1, Math.round(x * length)));
    const line = [...widths]
      .map((width) => ({ x: width / length, y: predict(width) }))
      .filter(({ x }) => x >= axis.xRange[0] && x <= axis.xRange[1]);
    const points = (mixer: CapacityPiece['mixer']) =>
      rows
        .filter((row) => row.mixer === mixer && row.length === length)
        .map((row) => ({
          x: row.width / length,
          y: row.accuracy,
          range: wilson(row.accuracy, row.draws * row.length),
          title: `T = ${grouped(length)}, N = ${grouped(row.width)}: ${percent(row.accuracy)} % measured, ${percent(row.predicted)} % predicted`,
        }));
    const own = look(i);
    const name = `T = ${grouped(length)}`;
    return [
      { name: `${name}, linear attention`, ...own, points: points('linearAttention'), line },
      { name: `${name}, Mamba`, ...own, points: points('selectiveScan'), hollow: true },
    ];
  });
  return {
    title: 'Share of tokens copied right',
    caption:
      `Marks: measured through the kernels with random keys and ${config.vocabSize} symbols drawn evenly, bars from end to end of the 95 % interval, after Wilson (mostly ` +
      `within the mark). Lines: predicted, with nothing fitted, from the normal distribution of the interference and the distances between the ` +
      `symbols' vectors. Both mixers and all lengths lie on nearly one curve: only N / T counts.`,
    plot: fractionPlot({
      description:
        'Share of tokens copied right over slots for each token: measured marks on predicted lines, one for each length.',
      yLabel: 'copied right',
      ...axis,
      series,
    }),
  };
}

function overlapFigure(rows: readonly CapacityRow[]): Figure {
  const lengths = [...new Set(rows.map(({ length }) => length))];
  const axis = ratioAxis(rows);
  const series: Series[] = lengths.map((length, i) => {
    const own = rows.filter((row) => row.length === length && row.mixer === 'linearAttention');
    const line = Array.from(
      { length: 60 },
      (_, step) => axis.xRange[0] * (axis.xRange[1] / axis.xRange[0]) ** (step / 59),
    ).map((x) => ({ x, y: welchBound(length, Math.max(1, Math.round(x * length))) }));
    return {
      name: `T = ${grouped(length)}: keys drawn, and the bound`,
      ...look(i),
      points: own.map(({ width, coherence: y }) => ({
        x: width / length,
        y,
        title: `T = ${grouped(length)}, N = ${grouped(width)}: greatest overlap ${y.toFixed(3)}`,
      })),
      line,
    };
  });
  return {
    title: 'How much keys must overlap',
    caption:
      'Marks: the greatest overlap of two of T random unit keys in N dimensions. Lines: the Welch bound, which no T keys can be below; it is 0 from N = T on, ' +
      'where keys can be orthogonal. Random keys never reach it, and that is why more than N = T is needed with them.',
    plot: linearPlot({
      description: 'Greatest overlap of keys over slots for each token: marks above the Welch bound.',
      yLabel: 'greatest overlap |k · k′|',
      yFormat: String,
      yRange: [0, 1],
      ...axis,
      series,
    }),
  };
}

const sharesTables = (rows: readonly CapacityRow[]): Findings['tables'] =>
  [...new Set(rows.map(({ length }) => length))].map((length) => {
    const own = rows.filter((row) => row.length === length);
    return {
      title: `T = ${grouped(length)}: percent copied right`,
      columns: ['N', 'N / T', 'linear', 'Mamba', 'predicted', 'Welch', 'overlap', 'kept/stored'],
      rows: own
        .filter(({ mixer }) => mixer === 'linearAttention')
        .map((linear) => {
          const scan = own.find(({ mixer, width }) => mixer === 'selectiveScan' && width === linear.width)!;
          const share = ({ accuracy: mean, draws }: CapacityRow) => {
            const [least, greatest] = wilson(mean, draws * length);
            return percentCell({ mean, least, greatest });
          };
          return [
            grouped(linear.width),
            ratioText(linear.width / length),
            share(linear),
            share(scan),
            percent(linear.predicted),
            linear.welch.toFixed(3),
            linear.coherence.toFixed(3),
            (linear.stateBits / linear.informationBits).toFixed(1),
          ];
        }),
      caption:
        'In brackets: the 95 % interval, after Wilson. Welch: the least possible greatest overlap of T keys; overlap: that of the keys drawn. Kept/stored: bits of the state for each bit of the tokens; below 1 nothing could copy.',
    };
  });
