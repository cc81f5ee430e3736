/** C5: what copying T tokens costs, by formula and in time, and how it grows. */
import { fitExponent } from '@freelunch/complexity';
import {
  copyAddressed,
  copyLinearAttention,
  type CopyMixer,
  copyPrice,
  copyPriceFormulas,
  copyRegisterFile,
  copySelectiveScan,
  copySoftmaxAttention,
  decode,
  encode,
  randomUnitKeys,
  signCodebook,
} from '@freelunch/constructions';
import type { Kernels, Tensor } from '@freelunch/kernels';
import { random } from '@freelunch/random';
import { checksOf } from '../experiments/check.js';
import { type Experiment, type Figure, type Findings, pause } from '../experiments/experiment.js';
import { grouped, percent } from '../report/format.js';
import { look } from '../report/look.js';
import { logPlot, type Series } from '../report/plot.js';
import { scaled } from '../report/text-table.js';
import { fractionRight, LARGEST_SIZE } from './measures.js';
import { copyWay, mixers } from '../mixers.js';

type Config = {
  /** Numbers of tokens, T, stored and all read back. */
  lengths: number[];
  /** The state that does not grow with T. */
  constantSlots: number;
  /** The longest length that is also timed. */
  longestTimed: number;
  /** The best of at least so many runs is the time. */
  passes: number;
  vocabSize: number;
  dValue: number;
  seed: number;
};

interface CostPiece {
  key: string;
  way: string;
  length: number;
  slots: number;
  passes: number;
  timed: boolean;
  vocabSize: number;
  dValue: number;
  seed: number;
  [field: string]: unknown;
}

type CostRow = {
  way: string;
  length: number;
  /** N; T for softmax attention, which caches all. */
  slots: number;
  floats: number;
  flops: number;
  /** Share copied right; null where nothing was run. */
  accuracy: number | null;
  /** Best of all passes; null where nothing was timed. */
  elapsedMs: number | null;
};

type Copy = (
  k: Kernels,
  args: { values: Tensor<'float32'>; keys: Tensor<'float32'>; slots: number },
) => Tensor<'float32'>;

/** Ways to copy: by which mixer, with a state that grows with T or not, exact or not. */
const ways: Record<string, { name: string; mixer: CopyMixer; grows: boolean; exact: boolean; copy: Copy }> = {
  addressed: {
    name: copyWay('addressed').label,
    mixer: 'addressed',
    grows: true,
    exact: true,
    copy: (k, { values, slots }) => copyAddressed(k, { values, dState: slots }),
  },
  registerFile: {
    name: copyWay('registerFile').label,
    mixer: 'registerFile',
    grows: true,
    exact: true,
    copy: (k, { values, slots }) => copyRegisterFile(k, { values, slots }),
  },
  softmaxAttention: {
    name: mixers['softmax-attention'].name,
    mixer: 'softmaxAttention',
    grows: true,
    exact: true,
    copy: (k, { values }) => copySoftmaxAttention(k, { values }),
  },
  linearAttention: {
    name: copyWay('linearAttention').label,
    mixer: 'linearAttention',
    grows: true,
    exact: false,
    copy: (k, { values, keys }) => copyLinearAttention(k, { values, keys }),
  },
  selectiveScan: {
    name: copyWay('selectiveScan').label,
    mixer: 'selectiveScan',
    grows: true,
    exact: false,
    copy: (k, { values, keys }) => copySelectiveScan(k, { values, keys }),
  },
  constantState: {
    name: `${copyWay('registerFile').label}, constant`,
    mixer: 'registerFile',
    grows: false,
    exact: false,
    copy: (k, { values, slots }) => copyRegisterFile(k, { values, slots }),
  },
};

/** Short runs are repeated for so long: what else the machine does must not decide. */
const LEAST_MS = 300;

export const copyCost: Experiment<Config, CostPiece, CostRow> = {
  name: 'copy-cost',
  summary: 'What does copying T tokens cost, and how does it grow?',
  claims: ['C5'],
  timed: true,
  presets: {
    quick: {
      lengths: [64, 128, 256, 512, 1024, 2048],
      constantSlots: 64,
      longestTimed: 1024,
      passes: 3,
      vocabSize: 64,
      dValue: 16,
      seed: 1,
    },
    full: {
      lengths: [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384],
      constantSlots: 64,
      longestTimed: 2048,
      passes: 5,
      vocabSize: 64,
      dValue: 16,
      seed: 1,
    },
  },

  pieces({ lengths, constantSlots, longestTimed, passes, vocabSize, dValue, seed }) {
    const { whole, once, each } = checksOf('copy-cost');
    whole('lengths', lengths, 2, 2 ** 24);
    once('lengths', lengths);
    each('lengths', [lengths], (list) => list.length >= 2, 'two or more, to fit exponents');
    whole('constantSlots', constantSlots, 1, LARGEST_SIZE);
    whole('longestTimed', longestTimed, 0, LARGEST_SIZE);
    whole('passes', passes, 1, 1000);
    whole('vocabSize', vocabSize, 2, 4096);
    whole('dValue', dValue, Math.ceil(Math.log2(vocabSize)), 256);
    whole('seed', seed, 0, Number.MAX_SAFE_INTEGER);
    return Object.keys(ways).flatMap((way) =>
      lengths.map((length) => ({
        key: `${way} T=${length}`,
        way,
        length,
        slots: ways[way].grows ? length : constantSlots,
        passes,
        timed: length <= longestTimed,
        vocabSize,
        dValue,
        seed,
      })),
    );
  },

  async run(piece, context) {
    const { way, length, slots, passes, timed, vocabSize, dValue, seed } = piece;
    const { mixer, copy } = ways[way];
    const price = copyPrice({ mixer, seqLen: length, reads: length, dValue, slots });
    const row = { way, length, slots, ...price };
    if (!timed) return { ...row, accuracy: null, elapsedMs: null };
    const { k } = context;
    const rng = random(seed);
    const codebook = signCodebook(rng.split('codebook'), vocabSize, dValue);
    const symbols = rng.split(`tokens ${length}`);
    const tokens = Int32Array.from({ length }, () => symbols.integer(vocabSize));
    let accuracy = 0;
    let elapsedMs = Infinity;
    let totalMs = 0;
    // The first pass warms up: it is checked, not timed.
    for (let pass = 0; ; pass++) {
      if (pass > passes && totalMs >= LEAST_MS) break;
      await pause(context, Math.min(1, pass / (passes + 1)));
      k.scope(() => {
        const values = encode(k, tokens, codebook, dValue);
        const keys = randomUnitKeys(k, rng.split(`keys ${length} ${slots}`), length, slots);
        const start = performance.now();
        const o = copy(k, { values, keys, slots });
        const ms = performance.now() - start;
        if (pass === 0) accuracy = fractionRight(decode(o, codebook), tokens);
        else {
          elapsedMs = Math.min(elapsedMs, ms);
          totalMs += ms;
        }
      });
    }
    return { ...row, accuracy, elapsedMs };
  },

  findings(config, rows) {
    const all = Object.entries(ways).map(([way, about]) => {
      const own = rows.filter((row) => row.way === way);
      const timed = own.filter((row): row is CostRow & { elapsedMs: number } => row.elapsedMs !== null);
      const fit = (list: readonly CostRow[], value: (row: CostRow) => number) =>
        list.length < 2
          ? null
          : fitExponent(
              list.map(({ length }) => length),
              list.map(value),
            ).exponent;
      return {
        ...about,
        own,
        timed,
        flops: fit(own, ({ flops }) => flops)!,
        floats: fit(own, ({ floats }) => floats)!,
        // Short runs are made of calls, not of work: the longer half tells how it grows.
        clock: fit(timed.slice(-Math.max(3, Math.ceil(timed.length / 2))), ({ elapsedMs }) => elapsedMs!),
        right: timed.at(-1)?.accuracy ?? null,
      };
    });
    const exact = all.filter((one) => one.exact);
    const constant = all.find((one) => !one.grows)!;
    const quadratic = (value: number | null, margin: number) =>
      value !== null && Math.abs(value - 2) <= margin;
    const byFormula = exact.every(({ flops }) => quadratic(flops, 0.15));
    const byClock = exact.every(({ clock }) => quadratic(clock, 0.35));
    const allRight = exact.every(({ timed }) => timed.every(({ accuracy }) => accuracy === 1));
    const power = (value: number | null) => (value === null ? '–' : value.toFixed(2));
    const list = (value: (one: (typeof all)[number]) => string) =>
      exact.map((one) => `${value(one)} (${one.name})`).join(', ');
    const longest = Math.max(...rows.map(({ length }) => length));
    const longestTimed = Math.max(
      ...rows.filter((row) => row.elapsedMs !== null).map(({ length }) => length),
      0,
    );
    const times = [...new Set(rows.filter((row) => row.elapsedMs !== null).map(({ length }) => length))];
    return {
      text: [
        `The FLOPs of exact ways to copy grow with T to the power of: ${list(({ flops }) => power(flops))}; the floats they keep, with T to the power of: ${list(({ floats }) => power(floats))}.`,
        ...(longestTimed > 0
          ? [
              `Measured time, up to ${grouped(longestTimed)} tokens: ${list(({ clock }) => power(clock))}. ${allRight ? 'All tokens' : 'Not all tokens'} came back right.`,
              `A state of ${grouped(config.constantSlots)} slots costs T^${power(constant.flops)}, and at ${grouped(longestTimed)} tokens ${constant.right === null ? 'nothing' : `${percent(constant.right)} %`} of them come back: what it saves, it pays for in errors.`,
            ]
          : []),
      ],
      figures: [
        costFigure(
          'Operations',
          'FLOPs',
          all,
          ({ flops }) => flops,
          'Counted by formula, for T tokens stored and T read back. Every way that copies all lies on a line of the same slope, two decades for each decade of T; the one that keeps a constant state is flatter, and forgets.',
        ),
        costFigure(
          'Floats kept',
          'floats',
          all,
          ({ floats }) => floats,
          'State or cache, and the width of a key. All that copy exactly keep a number that grows with T.',
        ),
        ...(longestTimed > 0
          ? [
              costFigure(
                'Measured time',
                'ms',
                all,
                ({ elapsedMs }) => elapsedMs,
                `The best of ${config.passes} passes or more in one thread, from keys and values to what is read. The times of short runs are mostly the overhead of calls.`,
              ),
            ]
          : []),
      ],
      tables: [
        {
          title: `Price of T = ${grouped(longest)}, and its growth`,
          columns: ['', 'floats', 'power', 'FLOPs', 'power', 'time, power', 'right'],
          rows: all.map((one) => {
            const last = one.own.find(({ length }) => length === longest)!;
            return [
              one.name,
              scaled(last.floats),
              power(one.floats),
              scaled(last.flops),
              power(one.flops),
              power(one.clock),
              one.right === null ? '–' : `${percent(one.right)} %`,
            ];
          }),
          caption:
            `Powers of T, fitted; for times, over the longer half of the lengths timed. Right: at T = ${grouped(longestTimed)}. ` +
            `FLOPs by formula: ${exact.map(({ name, mixer }) => `${name} ${copyPriceFormulas[mixer].flops}`).join('; ')}.`,
        },
        ...(longestTimed > 0
          ? [
              {
                title: 'Time per copied token, as a multiple of that at the shortest length',
                columns: ['', ...times.map((length) => `T=${grouped(length)}`)],
                rows: all.map(({ name, timed }) => {
                  const first = timed[0].elapsedMs / timed[0].length;
                  return [
                    name,
                    ...timed.map(({ elapsedMs, length }) => (elapsedMs / length / first).toFixed(2)),
                  ];
                }),
                caption: `The shortest: ${all.map(({ name, timed }) => `${name} ${((1000 * timed[0].elapsedMs) / timed[0].length).toFixed(2)} µs`).join(', ')}.`,
              },
            ]
          : []),
      ],
      verdicts: [
        {
          claim: 'C5',
          theory:
            'copying T tokens exactly costs on the order of T^2 operations with every mixer; a smaller state costs less and makes errors',
          measured:
            `FLOPs grow with T to the power of ${list(({ flops }) => power(flops))}; measured time with ${list(({ clock }) => power(clock))}; ` +
            `with ${grouped(config.constantSlots)} slots FLOPs with ${power(constant.flops)}, ${constant.right === null ? 'not run' : `${percent(constant.right)} % right at ${grouped(longestTimed)}`}`,
          agrees: byFormula && allRight ? (byClock ? true : 'partly') : false,
        },
      ],
    } satisfies Findings;
  },
};

function costFigure(
  title: string,
  yLabel: string,
  all: readonly { name: string; own: readonly CostRow[] }[],
  value: (row: CostRow) => number | null,
  caption: string,
): Figure {
  const shown = all.map(({ name, own }, i): Series => {
    const points = own.flatMap((row) => {
      const y = value(row);
      return y === null
        ? []
        : [{ x: row.length, y, title: `${name}, T = ${grouped(row.length)}: ${scaled(y)} ${yLabel}` }];
    });
    return {
      name,
      ...look(i),
      hollow: i % 2 === 1,
      dashed: i >= 5,
      points,
      line: points,
    };
  });
  const lengths = [...new Set(shown.flatMap(({ points = [] }) => points.map(({ x }) => x)))];
  return {
    title,
    caption,
    plot: logPlot({
      description: `${title} over the number of tokens, both logarithmic, for ${all.length} ways to copy; the table below has figures.`,
      xLabel: 'tokens, T (logarithmic)',
      yLabel,
      xRange: [Math.min(...lengths) / 1.15, Math.max(...lengths) * 1.15],
      xTicks: lengths,
      xFormat: grouped,
      yFormat: scaled,
      series: shown,
    }),
  };
}
