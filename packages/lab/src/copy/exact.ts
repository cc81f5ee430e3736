/** C2 and C4: which constructions copy without any error, at which size, and how sharp softmax attention must be. */
import {
  copyAddressed,
  copyPrice,
  copyRegisterFile,
  copySoftmaxAttention,
  positionBits,
} from '@freelunch/constructions';
import { random } from '@freelunch/random';
import { checksOf } from '../experiments/check.js';
import { type Experiment, type Figure, type Findings, pause } from '../experiments/experiment.js';
import { copyWay, mixers } from '../mixers.js';
import { grouped, percent } from '../report/format.js';
import { look } from '../report/look.js';
import { logPlot, type Series } from '../report/plot.js';
import { LARGEST_SIZE } from './measures.js';

type Config = {
  /** Numbers of tokens, T. */
  lengths: number[];
  /** Slots for each token, N / T, up to 1. */
  ratios: number[];
  /** Sharpness of softmax attention's queries. */
  betas: number[];
  dValue: number;
  seed: number;
};

interface ExactPiece {
  key: string;
  mixer: 'addressed' | 'registerFile' | 'softmaxAttention';
  length: number;
  /** N, or beta. */
  size: number;
  dValue: number;
  seed: number;
  [field: string]: unknown;
}

type ExactRow = {
  mixer: ExactPiece['mixer'];
  length: number;
  /** N; null for softmax attention, which caches all. */
  slots: number | null;
  beta: number | null;
  /** Floats kept between steps, and the width of a key. */
  floats: number;
  keyWidth: number;
  /** Values that came back to the last bit. */
  exact: number;
  /** max |o - v| / max |v| over the values that should be kept, */
  error: number;
  /** and what theory allows. */
  bound: number;
};

const names = {
  addressed: copyWay('addressed').label,
  registerFile: copyWay('registerFile').label,
  softmaxAttention: mixers['softmax-attention'].name,
} as const;

/** Rounding of sums of weights and values in float32: 1 + 2^-23 for each of a few products. */
const ROUNDING = 2 ** -20;

export const copyExact: Experiment<Config, ExactPiece, ExactRow> = {
  name: 'copy-exact',
  summary: 'Which constructions copy to the last bit, and at which size?',
  claims: ['C2', 'C4'],
  presets: {
    quick: { lengths: [16, 100, 256], ratios: [0.25, 1], betas: [1, 2, 4, 8, 12], dValue: 8, seed: 1 },
    full: {
      lengths: [16, 64, 100, 256, 1024, 2048],
      ratios: [0.25, 0.5, 1],
      betas: [1, 2, 3, 4, 6, 8, 10, 12],
      dValue: 8,
      seed: 1,
    },
  },

  pieces({ lengths, ratios, betas, dValue, seed }) {
    const { whole, each } = checksOf('copy-exact');
    whole('lengths', lengths, 2, LARGEST_SIZE);
    each('ratios', ratios, (ratio) => ratio > 0 && ratio <= 1, 'above 0 and up to 1');
    each('betas', betas, (beta) => beta > 0 && beta <= 100, 'above 0 and up to 100');
    whole('dValue', dValue, 1, 256);
    whole('seed', seed, 0, Number.MAX_SAFE_INTEGER);
    return [...new Set(lengths)].flatMap((length) => {
      const slots = [...new Set(ratios.map((ratio) => Math.max(1, Math.round(ratio * length))))];
      const all = { length, dValue, seed };
      return [
        ...(['addressed', 'registerFile'] as const).flatMap((mixer) =>
          slots.map((size) => ({ key: `${mixer} T=${length} N=${size}`, mixer, size, ...all })),
        ),
        ...[...new Set(betas)].map((size) => {
          const mixer = 'softmaxAttention' as const;
          return { key: `${mixer} T=${length} beta=${size}`, mixer, size, ...all };
        }),
      ];
    });
  },

  async run(piece, context) {
    const { mixer, length, size, dValue, seed } = piece;
    const { k } = context;
    await pause(context, 0);
    // Any numbers, not those of a codebook: all 24 bits of each must come back.
    const rng = random(seed).split(`values ${length}`);
    const written = Float32Array.from({ length: length * dValue }, () => rng.normal());
    const read = k.scope(() => {
      const values = k.tensor(written, [length, dValue]);
      const o =
        mixer === 'addressed'
          ? copyAddressed(k, { values, dState: size })
          : mixer === 'registerFile'
            ? copyRegisterFile(k, { values, slots: size })
            : copySoftmaxAttention(k, { values, beta: size });
      return Float32Array.from(o.data);
    });
    const softmax = mixer === 'softmaxAttention';
    const kept = (t: number) => softmax || (mixer === 'addressed' ? t < size : t >= length - size);
    let exact = 0;
    let error = 0;
    const greatest = written.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    for (let t = 0; t < length; t++) {
      let distance = 0;
      for (let d = t * dValue; d < (t + 1) * dValue; d++)
        distance = Math.max(distance, Math.abs(read[d] - written[d]));
      if (distance === 0) exact++;
      if (kept(t)) error = Math.max(error, distance / greatest);
    }
    const bits = positionBits(length);
    return {
      mixer,
      length,
      slots: softmax ? null : size,
      beta: softmax ? size : null,
      floats: copyPrice({ mixer, seqLen: length, reads: length, dValue, slots: softmax ? length : size })
        .floats,
      keyWidth: softmax ? bits : mixer === 'addressed' ? size : 1,
      exact,
      error,
      bound: softmax ? 2 * Math.expm1(bits * Math.log1p(Math.exp(-2 * size))) : 0,
    };
  },

  findings(config, rows) {
    const states = rows.filter(({ slots }) => slots !== null);
    const softmax = rows.filter(({ beta }) => beta !== null);
    const greatest = (list: readonly ExactRow[]) => Math.max(...list.map(({ error }) => error));
    const full = states.filter(({ slots, length }) => slots === length);
    const less = states.filter(({ slots, length }) => slots! < length);
    const sharpest = Math.max(...config.betas);
    const sharp = softmax.filter(({ beta }) => beta === sharpest);
    const allKept = states.every(({ exact, slots }) => exact === slots);
    const within = softmax.filter(({ error, bound }) => error <= bound + ROUNDING).length;
    const longest = Math.max(...rows.map(({ length }) => length));
    const width = sharp.find(({ length }) => length === longest)!.keyWidth;
    const size = (error: number) => (error === 0 ? '0' : error.toExponential(1));
    const exactShare = (list: readonly ExactRow[]) =>
      list.reduce((total, { exact }) => total + exact, 0) /
      list.reduce((total, { length }) => total + length, 0);
    return {
      text: [
        `With a slot for each token, addresses and registers return ${percent(exactShare(full))} % of the values to the last bit, up to T = ${grouped(longest)}.`,
        ...(less.length > 0
          ? [
              allKept
                ? 'With fewer slots, N values come back to the last bit and no other: the first N by addresses, the last N by registers.'
                : 'With fewer slots, not exactly N values come back.',
            ]
          : []),
        `Softmax attention with keys of ${width} numbers for ${grouped(longest)} tokens errs by ${size(greatest(sharp))} of the greatest value at most at beta = ${sharpest}, ` +
          `and ${percent(exactShare(sharp))} % of the values come back to the last bit; its cache keeps ${grouped(sharp.find(({ length }) => length === longest)!.floats)} floats.`,
      ],
      figures: [sharpnessFigure(config, softmax)],
      tables: [
        {
          title: 'Values that came back to the last bit',
          columns: ['', 'T', 'N', 'key width', 'floats kept', 'exact', 'greatest error'],
          rows: [...states, ...sharp].map(({ mixer, length, slots, keyWidth, floats, exact, error }) => [
            names[mixer],
            grouped(length),
            slots === null ? '–' : grouped(slots),
            grouped(keyWidth),
            grouped(floats),
            `${percent(exact / length)} %`,
            size(error),
          ]),
          caption: `Greatest error: of the values that should be kept, as a share of the greatest value. Softmax attention at beta = ${sharpest}.`,
        },
      ],
      verdicts: [
        {
          claim: 'C2',
          theory:
            'a state of N = T slots copies exactly in float32, by addresses or by registers; with N < T, N values are kept',
          measured:
            `greatest error ${size(greatest(states))}, ${percent(exactShare(full))} % exact at N = T up to ${grouped(longest)}` +
            (less.length > 0 ? `; with N < T ${allKept ? 'exactly N' : 'not N'} come back` : ''),
          agrees: allKept && greatest(states) === 0,
        },
        {
          claim: 'C4',
          theory:
            'softmax attention copies with keys of ceil(log2 T) numbers; its error is at most 2 ((1 + exp(-2 beta))^b - 1) of the greatest value',
          measured: `keys of ${width} numbers for ${grouped(longest)} tokens; error ${size(greatest(sharp))} at beta = ${sharpest}; ${within} of ${softmax.length} points within the bound and float32's rounding`,
          agrees: within === softmax.length ? true : within >= 0.9 * softmax.length ? 'partly' : false,
        },
      ],
    } satisfies Findings;
  },
};

function sharpnessFigure(config: Config, rows: readonly ExactRow[]): Figure {
  const shown = config.lengths.length <= 4 ? config.lengths : [config.lengths[0], config.lengths.at(-1)!];
  const series: Series[] = shown.map((length, i) => {
    const own = rows.filter((row) => row.length === length).sort((a, b) => a.beta! - b.beta!);
    return {
      name: `T = ${grouped(length)}: measured, and the bound`,
      ...look(i),
      points: own
        .filter(({ error }) => error > 0)
        .map(({ beta, error }) => ({
          x: beta!,
          y: error,
          title: `T = ${grouped(length)}, beta = ${beta}: ${error.toExponential(1)}`,
        })),
      line: own.map(({ beta, bound }) => ({ x: beta!, y: bound })),
    };
  });
  const greatest = Math.max(...config.betas);
  return {
    title: 'How sharp softmax attention must be',
    caption:
      'Marks: greatest error as a share of the greatest value, through the kernels; none where it is 0. Lines: the bound. Errors fall with beta until ' +
      'float32 rounds them away.',
    plot: logPlot({
      description: 'Greatest error over beta, logarithmic: marks below falling lines.',
      xLabel: 'beta',
      yLabel: 'error',
      xScale: 'linear',
      xRange: [0, greatest * 1.03],
      xTicks: config.betas,
      xFormat: String,
      yFormat: (y) => (y < 1e-2 ? y.toExponential(0) : String(y)),
      series,
    }),
  };
}
